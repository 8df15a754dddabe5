"""Build the W&B workspace that compares methods: accuracy, what it costs in spikes, and when the decision falls.

    python scripts/dashboard.py ENTITY/PROJECT [--group GROUP] [--dry-run FILE]

Saves a new view of the project and prints its address. With --dry-run it writes the view as JSON instead, without login
or network. Lines and bars are means over the runs of a method, bands and whiskers their standard deviation, so that
runs of one data set should be in it: --group keeps to one sweep (its folder's name) or experiment. Exit code 2: not
logged in, W&B out of reach, or the extra is not installed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnrun.errors import UserError

if TYPE_CHECKING:
    from wandb_workspaces import workspaces as ws

_MOST_RUNS = 100  # W&B's own 10 would leave out runs of a sweep, also from the means
_UNFILTERABLE = "'\"\\=<>"  # wandb-workspaces reads its filters as expressions
_METHOD = "method.name"
_RESULTS = (
    ("acc", "accuracy", "share of samples"),
    ("spikes", "spikes", "spikes per sample, whole window"),
    ("spikes_to_decision", "spikes to decision", "spikes per sample, to the first output spike"),
)
_COSTS = (("spikes", "spikes"), ("spikes_to_decision", "spikes to decision"), ("synops", "synaptic operations"))
_EFFICIENCY = (
    *_RESULTS,
    ("latency", "decision time", "step of the first output spike"),
    ("synops", "synaptic operations", "operations per sample"),
    ("undecided", "undecided samples", "share without an output spike"),
)
_LAYERS = (
    ("grad_norm", "gradient norm of weights", "norm, mean over the epoch"),
    ("rate", "firing rate", "spikes per neuron and sample"),
    ("silent", "silent neurons", "share of neurons"),
)
_COMMON = (("method.name", "method"), ("loss.name", "loss"), ("optimizer.lr", "learning rate"), ("seed", "seed"))
_WEIGHTS = (("method.lambda_act", "lambda_act"), ("method.lambda_tim", "lambda_tim"))


def build(entity: str, project: str, group: str | None = None) -> ws.Workspace:
    """The workspace, unsaved; names of metrics and options are those that runs log."""
    from wandb_workspaces import workspaces as ws

    filters = [ws.Metric("JobType") == "train", ws.Metric("State").isin(["finished", "running"])]
    if group is not None:
        filters.append(ws.Metric("Group") == group)
    columns = ["config:method.value.name", "config:loss.value.name", "config:dataset.value.name"]
    columns += ["config:seed.value", *(f"summary:test/{key}" for key, _, _ in _RESULTS)]
    return ws.Workspace(
        entity=entity,
        project=project,
        name="Methods compared" if group is None else f"Methods compared in {group}",
        sections=_sections(),
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=_MOST_RUNS),
        # grouped panel by panel: a grouped run table would turn scatter plots and parallel coordinates into means
        runset_settings=ws.RunsetSettings(filters=ws.And(*filters), pinned_columns=columns),
    )


def _sections() -> list[ws.Section]:
    from wandb_workspaces import workspaces as ws
    from wandb_workspaces.reports import v2 as wr

    def section(name: str, panels: list[Any], columns: int, is_open: bool = True) -> ws.Section:
        rows = -(-len(panels) // columns)
        layout = ws.SectionLayoutSettings(columns=columns, rows=rows)
        return ws.Section(name=name, panels=panels, is_open=is_open, layout_settings=layout)

    images = {"plots/raster": "One test sample: spikes by layer and step", "plots/confusion": "Confusion, test set"}
    return [
        section("Result (test): what spikes buy", [*_trade_offs(), *_bars()], columns=3),
        section("Learning (validation): mean and deviation over seeds", _curves(), columns=3),
        section("Parameters of the sweep", _parallel_coordinates(), columns=1),
        section("Layers: gradients, firing, silence", _layers(), columns=3, is_open=False),
        section(
            "Test samples",
            [wr.MediaBrowser(title=title, media_keys=[key], num_columns=2) for key, title in images.items()],
            columns=2,
            is_open=False,
        ),
        section("Runs side by side", [wr.RunComparer(diff_only="split")], columns=1),
    ]


def _trade_offs() -> list[Any]:
    from wandb_workspaces.reports import v2 as wr

    return [
        wr.ScatterPlot(
            title=f"Accuracy against {name}, by run",
            x=wr.SummaryMetric(f"test/{key}"),
            y=wr.SummaryMetric("test/acc"),
        )
        for key, name in _COSTS
    ]


def _bars() -> list[Any]:
    from wandb_workspaces.reports import v2 as wr

    return [
        wr.BarPlot(
            title=f"{name.capitalize()} by method",
            metrics=[f"test/{key}"],
            title_x=unit,
            groupby=wr.Config(_METHOD),
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
            max_runs_to_show=_MOST_RUNS,
        )
        for key, name, unit in _RESULTS
    ]


def _curves() -> list[Any]:
    return [_curve(name.capitalize(), unit, y=[f"val/{key}"]) for key, name, unit in _EFFICIENCY]


def _layers() -> list[Any]:
    return [
        _curve(f"{name.capitalize()}, by layer", unit, metric_regex=f"^{kind}/", log_y=kind == "grad_norm" or None)
        for kind, name, unit in _LAYERS
    ]


def _curve(title: str, unit: str, **options: Any) -> Any:
    from wandb_workspaces.reports import v2 as wr

    return wr.LinePlot(
        title=title,
        x="epoch",
        title_x="epoch",
        title_y=unit,
        groupby=wr.Config(_METHOD),
        groupby_aggfunc="mean",
        groupby_rangefunc="stddev",
        max_runs_to_show=_MOST_RUNS,
        smoothing_type="none",
        **options,
    )


def _parallel_coordinates() -> list[Any]:
    """Two, for only the hybrid method has the weights, and a run without a value has no line."""
    from wandb_workspaces.reports import v2 as wr

    def panel(title: str, options: Sequence[tuple[str, str]]) -> Any:
        column = wr.ParallelCoordinatesPlotColumn
        results = [column(wr.SummaryMetric(f"test/{key}"), f"test {name}") for key, name, _ in _RESULTS]
        axes = [column(wr.Config(key), name, log=key == "optimizer.lr" or None) for key, name in options]
        return wr.ParallelCoordinatesPlot(title=title, columns=[*axes, *results])

    hybrid = (*_COMMON[:-1], *_WEIGHTS, _COMMON[-1])
    return [
        panel("All methods: options and test result, a line per run", _COMMON),
        panel("Hybrid: weights of its two gradients and test result, a line per run", hybrid),
    ]


def save(workspace: ws.Workspace) -> str:
    """Save the workspace as a new view; returns its address.

    Raises:
        UserError: nobody is logged in, or W&B is out of reach or refuses.
    """
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # no telemetry, and no wait for it
    import wandb

    from snnrun.observers.wandb import login

    try:
        if not login():
            raise UserError(
                "nobody is logged in to W&B here, or WANDB_MODE keeps it offline",
                "Run wandb login, or write the JSON by --dry-run FILE",
            )
        workspace.save()
        return str(workspace.url)
    except (wandb.errors.Error, OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"W&B does not save the workspace ({str(error)[:160]})", "--dry-run FILE needs no W&B"
        ) from None


def write(workspace: ws.Workspace, path: Path) -> None:
    """What W&B would get, as JSON.

    Raises:
        UserError: the file cannot be written.
    """
    try:
        path.write_text(workspace._model.model_dump_json(by_alias=True, exclude_none=True, indent=2) + "\n")
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from None


def main(argv: Sequence[str] | None = None) -> int:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("project", metavar="ENTITY/PROJECT", help="as in the address wandb.ai/ENTITY/PROJECT")
    parser.add_argument("--group", help="only runs of this W&B group: a sweep folder's name, or an experiment_name")
    parser.add_argument("--dry-run", type=Path, metavar="FILE", help="write the view as JSON, without login or network")
    arguments = parser.parse_args(argv)
    try:
        entity, _, project = arguments.project.partition("/")
        if not entity or not project or "/" in project:
            raise UserError(f"{arguments.project!r} is no W&B project", "Give ENTITY/PROJECT")
        if any(sign in _UNFILTERABLE for sign in arguments.group or ""):
            raise UserError(f"--group has one of {_UNFILTERABLE}", "W&B's filters cannot hold it: leave --group out")
        try:
            workspace = build(entity, project, arguments.group)
        except ModuleNotFoundError as error:
            raise UserError(f"{error.name} is not installed", "pip install snnrun[dashboard]") from None
        if arguments.dry_run is None:
            print(f"saved: {save(workspace)}")
        else:
            write(workspace, arguments.dry_run)
            print(f"written: {arguments.dry_run}")
    except UserError as error:
        print(f"snnrun: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
