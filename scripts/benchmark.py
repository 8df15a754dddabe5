"""Time and memory of training and inference against every installed peer and against what the machine allows.

    pip install -c constraints.txt -e ".[bench]"        # SpikingJelly, snnTorch, Norse
    python scripts/benchmark.py [--quick] [--out FILE.json]

Every implementation runs in a process of its own; they take turns, round after round, on the same shapes, input and
optimizer, with weights scaled until hidden neurons fire equally often. Shown are the median over rounds, the spread
(interquartile range), the growth of peak memory over that before the case was built, and the ratio to the fastest peer
and to the limit (scripts/bench/limit.py). Pass "train" is forward, loss, backward and optimizer; "infer"
forward without gradients. A peer that is not installed is said so and left out of FILE.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import torch
from bench import limit
from bench.cases import CASES, Case, larger, make_spikes
from bench.measure import Arm, Worker, WorkerFailed, interleave, spread
from bench.report import PASSES, PEERS, Row, comparison, plot, write_json
from rich.console import Console
from rich.table import Table

from snnrun.errors import UserError
from snnrun.kernels import KERNELS

OWN_METHOD_BAR = 1.5  # a user's own method may cost this much more than the built-in hybrid


def implementations() -> list[str]:
    """Everything that could run here, snnrun's fastest kernel first."""
    kernels = [name for name in ("cuda", "cpu", "reference") if name in KERNELS]
    if not torch.cuda.is_available():
        kernels = [name for name in kernels if name != "cuda"]
    return [*(f"snnrun-{name}" for name in kernels), *PEERS, "limit"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    visible = [name for name in CASES if name != "tiny"]
    parser.add_argument(
        "--cases", nargs="+", choices=list(CASES), metavar="CASE", help=f"of {', '.join(visible)} (default all)"
    )
    parser.add_argument("--impls", nargs="+", choices=implementations(), help="default: all")
    parser.add_argument("--batch", nargs="+", type=positive, help="batch sizes instead of the cases' own")
    parser.add_argument("--rounds", type=positive, help="default 5, with --quick 3")
    parser.add_argument("--threads", type=positive, default=available_cores(), help="default: all cores")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of peers and limit (default cpu)")
    parser.add_argument("--data", type=Path, default=None, help="folder with MNIST and NMNIST; default: drawn spikes")
    parser.add_argument("--quick", action="store_true", help="under two minutes: smallest batches, dense networks")
    parser.add_argument("--scaling", action="store_true", help="also: twice the inputs, steps and batch (ours only)")
    parser.add_argument("--own-method", action="store_true", help="also: a user's own method against the built-in one")
    parser.add_argument("--out", type=Path, help="write rows to FILE.json and a plot to FILE.png")
    options = parser.parse_args()
    if options.out is not None and options.out.suffix != ".json":
        parser.error("--out: give a file that ends in .json; the plot takes its name")
    options.rounds = options.rounds or (3 if options.quick else 5)
    options.cases = options.cases or (["mnist", "nmnist"] if options.quick else visible)
    options.impls = options.impls or implementations()
    options.seconds = 0.2 if options.quick else 0.5
    return options


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chosen_cases(options: argparse.Namespace) -> list[Case]:
    cases: list[Case] = []
    for name in options.cases:
        published = CASES[name][:1] if options.quick else CASES[name]
        cases += [replace(published[0], batch=size) for size in options.batch] if options.batch else published
    return [replace(case, data=str(options.data)) if options.data else case for case in cases]


class Benchmark:
    """Workers that live as long as the run, and the rows that they have given."""

    def __init__(self, options: argparse.Namespace, console: Console) -> None:
        self.options, self.console = options, console
        self.workers: dict[str, Worker] = {}
        self.missing: dict[str, str] = {}
        self.rows: list[Row] = []
        self.rates: list[limit.Rates] = []

    def start(self) -> None:
        self.status("starting")
        for impl in self.options.impls:  # all at the same time
            self.workers[impl] = Worker(impl, self.options.device, self.options.threads)
            self.workers[impl].send("start")
        for impl, worker in self.workers.items():
            try:
                worker.receive()
            except WorkerFailed as failure:
                self.missing[impl] = str(failure)

    def close(self) -> None:
        for worker in self.workers.values():
            worker.stop()
        for worker in self.workers.values():
            worker.close()

    def status(self, text: str) -> None:
        if self.console.is_terminal:
            self.console.print(text, style="dim")

    def running(self, impls: list[str]) -> list[str]:
        return [impl for impl in impls if impl in self.workers and impl not in self.missing]

    def ours(self) -> list[str]:
        """Kernels for ratios of our own; the reference only where it is all there is."""
        kernels = self.running([impl for impl in self.options.impls if impl.startswith("snnrun-")])
        return [impl for impl in kernels if impl != "snnrun-reference"] or kernels

    def compare(self, case: Case) -> None:
        """All implementations on one case."""
        self.status(f"{case.name}, T={case.T}, batch {case.batch}")
        impls = self.running([impl for impl in self.options.impls if impl != "limit"])
        arms = [Arm(self.workers[impl], case) for impl in impls]
        self.measure_rates()
        # memory of inference comes before gradients and Adam's state exist
        interleave(arms, PASSES[::-1], self.options.rounds, self.options.seconds)
        self.measure_rates()
        for name in PASSES:
            for impl in self.options.impls:
                if impl in self.missing:
                    self.rows.append(empty_row(case, impl, self.device_of(impl), name, self.missing[impl]))
                elif impl == "limit":
                    self.rows.append(limit_row(case, self.options.device, name, self.rates))
                else:
                    self.rows.append(self.row_of(arms[impls.index(impl)], name))
        self.write()

    def device_of(self, impl: str) -> str:
        if impl.startswith("snnrun-"):
            return "cuda" if impl == "snnrun-cuda" else "cpu"
        return str(self.options.device)

    def row_of(self, arm: Arm, name: str) -> Row:
        impl, timing = arm.worker.impl, arm.timing(name)
        if timing is None:
            return empty_row(arm.case, impl, self.device_of(impl), name, f"failed: {arm.failure}")
        return Row(arm.case, impl, self.device_of(impl), name, *timing, arm.hidden_spikes)

    def write(self) -> None:
        """After every case, so that an interrupted run leaves what it has."""
        if self.options.out is not None:
            write_json(self.rows, self.options.out)

    def measure_rates(self) -> None:
        if self.running(["limit"]):
            self.rates.append(limit.Rates(**self.workers["limit"].ask("rates", seconds=self.options.seconds / 2)))

    def ratios(self, base: Arm, others: list[tuple[Arm, str, float]], name: str, table: Table) -> None:
        """Times of other arms over that of the base, round by round, beside their bars; all interleaved."""
        self.status(f"{base.worker.impl}, {base.case.name}")
        arms = [base, *(arm for arm, _, _ in others)]
        interleave(arms, [name], self.options.rounds, self.options.seconds)
        for arm, what, bar in others:
            where = (base.worker.impl, f"{arm.case.name}, batch {arm.case.batch}", what)
            before, after = base.timing(name), arm.timing(name)
            if before is None or after is None:
                table.add_row(*where, f"failed: {base.failure or arm.failure}")
                continue
            rounds = zip(arm.rounds[name], base.rounds[name], strict=True)
            ratio = statistics.median(late / early for (late, _), (early, _) in rounds)
            table.add_row(*where, f"{before.ms:.4g}", f"{after.ms:.4g}", f"{ratio:.2f}", f"{bar:.2f}")
        self.rows += [self.row_of(arm, name)._replace(name="train") for arm in arms]

    def scaling(self, cases: list[Case]) -> None:
        """Forward, loss and backward of larger inputs, windows and batches."""
        table = Table("scaling of", "case", "what grew", "ms before", "ms", "ratio", "bar", box=None, pad_edge=False)
        for impl in self.ours():
            worker = self.workers[impl]
            for case in cases:
                if len(case.shape) == 1:
                    base = Arm(worker, replace(case, name=f"{case.name}-base"))
                    others = [(Arm(worker, grown), what, bar) for grown, what, bar in larger(case)]
                    self.ratios(base, others, "gradient", table)
        self.console.print()
        self.console.print(table)

    def own_method(self, cases: list[Case]) -> None:
        """The training step with a user's own method instead of the built-in hybrid."""
        table = Table("own method", "case", "", "hybrid ms", "ms", "ratio", "bar", box=None, pad_edge=False)
        for impl in self.ours():
            worker = self.workers[impl]
            for case in cases:
                base = Arm(worker, replace(case, name=f"{case.name}-hybrid"))
                other = Arm(worker, replace(case, name=f"{case.name}-triangle"), "triangle")
                self.ratios(base, [(other, "triangle", OWN_METHOD_BAR)], "train", table)
        self.console.print()
        self.console.print(table)


def empty_row(case: Case, impl: str, device: str, name: str, failure: str) -> Row:
    return Row(case, impl, device, name, None, None, None, failure=failure)


def limit_row(case: Case, device: str, name: str, rates: list[limit.Rates]) -> Row:
    """The limit at the best rates so far in this run; its spread is what each measurement of them would have given."""
    best, *each = (milliseconds(case, name, rate) for rate in (limit.best_rates(rates), *rates))
    memory = limit.cost(case, name == "train", rates[0]).memory
    return Row(case, "limit", device, name, best, spread(each), memory / 1e6)


def milliseconds(case: Case, name: str, rates: limit.Rates) -> float:
    return max(limit.milliseconds(limit.cost(case, name == "train", rates), rates))


def limit_table(cases: list[Case], rates: limit.Rates) -> Table:
    """Both components of the limit."""
    table = Table("limit", "batch", "pass", "MB moved", "ms", "matrix GF", "other Gop", "ms", box=None, pad_edge=False)
    for case in cases:
        for name in PASSES:
            cost = limit.cost(case, name == "train", rates)
            moving, computing = limit.milliseconds(cost, rates)
            numbers = (cost.bytes / 1e6, moving, cost.flops / 1e9, cost.operations / 1e9, computing)
            table.add_row(case.name, str(case.batch), name, *(f"{number:.3g}" for number in numbers))
    return table


def main() -> int:
    options = arguments()
    console = Console()
    console = console if console.is_terminal else Console(width=160)
    benchmark = Benchmark(options, console)
    cases = chosen_cases(options)
    try:
        for case in cases:
            if case.data:
                make_spikes(case)  # data that is missing ends the run here, not in every worker
        benchmark.write()
        benchmark.start()
        for case in cases:
            benchmark.compare(case)
        console.print(comparison(benchmark.rows))
        if benchmark.rates:
            rates = limit.best_rates(benchmark.rates)
            console.print()
            console.print(limit_table(cases, rates))
            measured = f"{rates.bandwidth / 1e9:.1f} GB/s, matrix {rates.matrix / 1e9:.0f} Gflop/s"
            console.print(f"measured: {measured}, element by element {rates.elements / 1e9:.0f} Gop/s")
        compared = list(benchmark.rows)
        if options.scaling:
            benchmark.scaling(cases)
        if options.own_method:
            benchmark.own_method(cases)
        if options.out is not None:
            benchmark.write()
            plot(compared, options.out.with_suffix(".png"))
    except (UserError, WorkerFailed) as error:
        print(f"benchmark: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        benchmark.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
