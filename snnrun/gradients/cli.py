"""``scripts/gradient_quality.py``: options, and errors that become exit codes."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from snnrun.errors import UserError
from snnrun.gradients.measure import Plan
from snnrun.tools import ended, make_console

_OUT = Path("outputs") / "gradient_quality"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 done, 2 user error, 130 stopped."""
    return ended(lambda: _run(list(sys.argv[1:] if argv is None else argv)))


def _run(argv: list[str]) -> int:
    options = _parser().parse_intermixed_args(argv)
    # torch and matplotlib take seconds, --help need not wait for them
    from snnrun.gradients.export import show, write_csv
    from snnrun.gradients.landscape import landscape
    from snnrun.gradients.measure import measure
    from snnrun.gradients.plots import draw
    from snnrun.gradients.problem import compose

    console = make_console()
    methods = options.methods and [name.strip() for name in options.methods.split(",")]
    problem = compose(options.overrides, methods, options.seed, options.checkpoint, options.config_dir)
    out: Path = options.out
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
    plan = Plan(**{field.name: getattr(options, field.name) for field in fields(Plan)})
    what = f"{problem.config.dataset.name}, loss {problem.config.loss.name}"
    what += ", trained" if problem.state is not None else ", before training"
    for name in problem.left_out:
        console.print(f"{name} is left out: it cannot learn from loss={problem.config.loss.name}")
    with console.status("") as status:
        result = measure(problem, plan, lambda text: status.update(f"{text} ..."))
        status.update("landscape ...")
        field = landscape(problem.methods) if options.landscape else None
    console.print(what)
    show(result, console)
    paths = write_csv(result, field, out)
    with _writing(out):
        paths += draw(result, field, out, what)
    console.print()
    console.print(
        f"{out}/ ({', '.join(path.name for path in paths if path.suffix != '.svg')})", soft_wrap=True, markup=False
    )
    return 0


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror or error})", "Choose another --out") from None


def _parser() -> argparse.ArgumentParser:
    plan = Plan()
    parser = argparse.ArgumentParser(
        prog="gradient_quality.py",
        description="What each method's gradient predicts for small changes of the weights, against what the loss then "
        "does: correlation, sign agreement, steps down the gradient, over sizes of change and spike density.",
        epilog="The loss of a spiking network is piecewise constant: changes that are too small do nothing, hence "
        "several sizes. Sizes of random directions are relative to the norm of each layer's weights, sizes of single "
        "weights to the layer's root mean square.",
    )
    parser.error = _usage_error  # type: ignore[method-assign]
    add = parser.add_argument
    add("overrides", nargs="*", metavar="KEY=VALUE", help="options of a run: dataset=digits loss=spike_train "
        "model.layers=fc64-out (default loss: spike_train, which all methods learn from)")  # fmt: skip
    add("--methods", metavar="NAME,...", help="default: all that can learn from the loss")
    add("--checkpoint", metavar="FILE", help="a trained network: RUN/checkpoints/best.pt (with its data and loss, "
        "unless loss=... is given)")  # fmt: skip
    add("--seed", type=_whole(0), default=0, help="of the first network and of what is drawn (default 0)")
    add("--networks", type=_whole(1), default=plan.networks, metavar="N",
        help=f"initial weights to average over (default {plan.networks})")  # fmt: skip
    add("--batch", type=_whole(1), default=plan.batch, metavar="N", help=f"samples (default {plan.batch})")
    add("--batches", type=_whole(1), default=plan.batches, metavar="N",
        help=f"batches per network to make steps on (default {plan.batches})")  # fmt: skip
    add("--directions", type=_whole(2), default=plan.directions, metavar="N",
        help=f"random directions (default {plan.directions})")  # fmt: skip
    add("--weights", type=_whole(2), default=plan.weights, metavar="N",
        help=f"single weights of the first and of the last layer (default {plan.weights})")  # fmt: skip
    for name, default, what in (
        ("sizes", plan.sizes, "of random directions and steps"),
        ("weight-sizes", plan.weight_sizes, "of changes of single weights"),
        ("rates", plan.rates, "spikes per neuron that layers are scaled to; none: leave density out"),
    ):
        text = ",".join(f"{size:g}" for size in default)
        add(f"--{name}", type=_numbers(optional=name == "rates"), default=tuple(default), metavar="X,...",
            help=f"{what} (default {text})")  # fmt: skip
    add("--no-landscape", dest="landscape", action="store_false", help="leave the two-weight landscape out")
    add("--config-dir", metavar="DIR", help="config files of your own, as for snnrun")
    add("--out", type=Path, default=_OUT, metavar="DIR", help=f"tables (CSV) and plots (default {_OUT})")
    return parser


def _whole(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if not least <= value < 2**32:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
        return value

    return number


def _numbers(optional: bool) -> Callable[[str], tuple[float, ...]]:
    def numbers(text: str) -> tuple[float, ...]:
        if optional and text == "none":
            return ()
        try:
            values = sorted({float(part) for part in text.split(",")})
        except ValueError:
            values = []
        if not values or not all(0 < value < math.inf for value in values):
            raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers above 0, as in 0.01,0.1")
        return tuple(values)

    return numbers


def _usage_error(message: str) -> NoReturn:
    raise UserError(message, "--help shows how to call it")
