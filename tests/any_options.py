"""Hypothesis over the command line's schema: the options of registered dataclasses, values that fit or do not."""

from __future__ import annotations

import dataclasses
import math
import typing
from typing import Any

from hypothesis import strategies as st

from snnrun import registry
from snnrun.config import RunOptions
from snnrun.trainer import TrainerOptions

# so that whatever is drawn after them trains within a second or two
SMALL = (
    *("debug=fast", "logger=none", "dataset.limit_train=20", "dataset.limit_val=10", "dataset.limit_test=10"),
    *("trainer.batch_size=10", "trainer.threads=1"),
)
# options whose larger values are fine, but take their time: an upper end for valid ones
_MOST = {"T": 70, "epochs": 2, "workers": 1, "threads": 2, "extension": 300, "rate": 5, "batch_size": 3000}
_WORDS = {
    "layers": [
        "fc8-out",
        "[fc8,out]",
        "fc4-fc4-out",
        "64-fc8-out",
        "1x8x8-conv2c3-apool2-out",
        "conv2c3-mpool2-out",
        "out",
        "'out'",
        "fc8",
        "fc0-out",
        "fc99999999999-out",
        "fc8c3-out",
        "conv2c99-out",
        "[]",
        "''",
        "-",
        "{a: 1}",
        "[[out]]",
        "[null]",
        "fc\uff18-out",
    ],
    "beta_v": ["auto", "0.1", "1e-300", "0", "nan", "off"],
    "beta_bias": ["auto", "0.1", "1e300", "-1", "true"],
    "device": ["auto", "cpu", "cuda", "cuda:7", "cuda:x", "cpu:1", "meta", "mps", "'cuda:²'"],
    "monitor": ["val/acc", "val/loss", "val/spikes", "val/latency", "test/acc", "loss", "''"],
    "plugins": ["[]", "[os]", "[json.tool]", "[no.such]", "['../x']", "['']", "[1]", "[.relative]", "{a: 1}", "null"],
    "root": ["null", "/", "/nowhere", "~", "''", "'\\0'"],
    "checkpoint": ["null", "/dev/null", "/", "x.pt", "''"],
    "resume": ["null", "auto", "/dev/null", "/", "nowhere", "''"],
    "experiment_name": [
        "mine",
        "'a b'",
        "ünïcödé",
        "'..'",
        "a/b",
        "''",
        "'" + "x" * 300 + "'",
        "'a\\tb'",
        "日本",
        "null",
    ],
}
_JUNK = [
    "",
    "''",
    "null",
    "true",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "-1e400",
    "1e38",
    "1e-320",
    "0",
    "-0.0",
    "-1",
    "1.5",
    "0x10",
    "9" * 30,
    "-" + "9" * 30,
    "9" * 400,
    "1_000",
    "abc",
    "'quoted'",
    '"quoted"',
    "'open",
    "[1,2]",
    "[]",
    "{}",
    "{a:1}",
    "[[[[]]]]",
    "a,b",
    "1,2",
    "range(1,3)",
    "choice(1,2)",
    "interval(0,1)",
    "glob(*)",
    "tag(x,1)",
    "int(3.7)",
    "str(1)",
    "extend_list(1)",
    "${seed}",
    "${nothing}",
    "${",
    "${oc.env:HOME}",
    "${oc.env:NO_SUCH_VARIABLE}",
    "${hydra:job.num}",
    "${dataset.T}",
    "${now:%Y}",
    "${oc.create:{a:1}}",
    "${eval:1+1}",
    "${.name}",
    "${..seed}",
    "$x",
    "\\",
    "\\'",
    "a=b",
    "=",
    "日本語",
    "\u202e",
    "\x00",
    "\x1b[31mred",
    "\n",
    "a\nb",
    " ",
    "x y",
    "!!python/object:os.system",
    "*",
    "&a",
    "???",
    "'" + "long " * 400 + "'",
]
_WHOLE = [
    "",
    "=",
    "x",
    "a.b",
    "a=b=c",
    "+a=1",
    "++a=1",
    "~a",
    "~method",
    "~method.name",
    "~dataset",
    "~seed",
    "~trainer",
    "+method=timing",
    "method@x=timing",
    "method._target_=os.system",
    "+method._target_=os.system",
    "+_target_=os.system",
    "method={}",
    "method={name: timing}",
    "method.name=activation",
    "dataset={name: digits, T: 40}",
    "dataset.name=mnist",
    "model=[conv]",
    "method=null",
    "loss=null",
    "dataset=null",
    "optimizer=null",
    "trainer=null",
    "logger=null",
    "experiment=nowhere",
    "debug=null",
    "experiment=nmnist",
    "hparams_search=optuna",
    "+hparams_search=x",
    "hydra/launcher=joblib",
    "hydra/launcher=none",
    "hydra/sweeper=optuna",
    "hydra.run.dir=",
    "hydra.run.dir=null",
    "hydra.run.dir=here",
    "hydra.run.dir='a\x00b'",
    "hydra.run.dir=${nothing}",
    "hydra.run.dir=[1]",
    "hydra.output_subdir=null",
    "hydra.job.chdir=true",
    "hydra.verbose=true",
    "hydra.mode=MULTIRUN",
    "hydra.mode=x",
    "hydra.job.name=x",
    "hydra.job.env_set={A: b}",
    "+hydra.job.env_set.A=1",
    "hydra.sweep.dir=x",
    "hydra.nothing=1",
    "+hydra.callbacks.a._target_=os.getcwd",
    "hydra.searchpath=[file:///nowhere]",
    "hydra.searchpath=x",
    "hydra/job_logging=default",
    "hydra/job_logging=stdout",
    "hydra/hydra_logging=default",
    "hydra.job_logging=x",
    "hydra=null",
    "~hydra",
    "+hydra.x=1",
    "hydra.help.template=x",
    "hydra.runtime.output_dir=/tmp/x",
    "mode=test",
    "mode=train",
    "seed=1",
    "seed=0,1",
    "name=x",
    "0=1",
    "1.2=3",
    "[a]=1",
    "a[0]=1",
    "é=1",
    "model.layers.0=1",
    "dataset.loss_options=x",
    "trainer.__class__=x",
    "method.__init__=x",
    "+trainer.max.x=1",
    "method.lambda_act.x=1",
]
_FLAGS = [
    "--cfg",
    "--multirun",
    "--config-name=x",
    "--config-path=/",
    "--config-dir=/nowhere",
    "--config-dir=.",
    "--experimental-rerun=x",
    "--nothing",
    "-x",
    "--info=nothing",
    "--package=x",
    "--resolve",
    "--run",
    "--info",
    "--shell-completion",
    "--cfg=job",
    "--cfg=x",
    "--",
    "-h=1",
]


def _fields() -> list[tuple[str, dataclasses.Field[Any], Any]]:
    classes = [("", RunOptions), ("trainer.", TrainerOptions)]
    for group in registry.GROUPS:
        classes += [(f"{group}.", registry.component(group, name)) for name in registry.names(group)]
    found = {}
    for prefix, cls in classes:
        if cls.__module__.startswith("snnrun."):
            hints = typing.get_type_hints(cls)
            found.update({prefix + field.name: (field, hints[field.name]) for field in dataclasses.fields(cls)})
    return [(key, *about) for key, about in found.items()]


def _fitting(field: dataclasses.Field[Any], hint: Any) -> st.SearchStrategy[str]:
    limits, kinds = field.metadata, typing.get_args(hint) or (hint,)
    if field.name in _WORDS:
        return st.sampled_from(_WORDS[field.name])
    if "choices" in limits:
        return st.sampled_from([str(choice) for choice in limits["choices"]])
    if bool in kinds:
        return st.sampled_from(["true", "false"])
    low, high = limits.get("ge", limits.get("gt", -10)), limits.get("le", limits.get("lt", 1000))
    high = min(high, _MOST.get(field.name, high))
    if int in kinds:
        numbers: st.SearchStrategy[str] = st.integers(int(low), int(high)).map(str)
    else:
        numbers = st.floats(low, high).filter(math.isfinite).map(repr)
    return numbers | st.just("null") if type(None) in kinds else numbers


def _choices() -> st.SearchStrategy[str]:
    names = [f"{group}={name}" for group in registry.GROUPS for name in registry.names(group)]
    return st.sampled_from([name for name in names if name != "logger=wandb" and "mnist" not in name])


@st.composite
def _assigned(draw: st.DrawFn, junk: bool) -> str:
    key, field, hint = draw(st.sampled_from(_fields()))
    if key.startswith("logger."):
        key = "trainer." + key  # no run of these may reach for W&B
    value = draw(st.sampled_from(_JUNK) | st.text(max_size=12) if junk else _fitting(field, hint))
    sign = draw(st.sampled_from(["", "", "", "+", "++", "~"])) if junk else ""
    return f"{sign}{key}={value}"


_BAD = st.one_of(
    _assigned(junk=True), _assigned(junk=True), st.sampled_from(_WHOLE), st.sampled_from(_FLAGS), st.text(max_size=20)
)
GOOD_SETS = st.lists(st.one_of(_assigned(junk=False), _assigned(junk=False), _choices()), max_size=4)
ANY_SETS = st.one_of(
    GOOD_SETS, st.tuples(GOOD_SETS, st.lists(_BAD, min_size=1, max_size=2)).map(lambda two: [*two[0], *two[1]])
)
