"""Checkpoints: written whole or not at all, read as data."""

from __future__ import annotations

import io
import pickle
import stat
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from snnrun import atomic
from snnrun.errors import UserError

VERSION = 2
_KEYS = (
    *("version", "config", "network", "epoch", "step", "optimizer", "scheduler", "random", "steps_needed", "train"),
    *("run_id", "threads", "data"),
)


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Replace a checkpoint as a whole; the previous one survives until the new one is on disk.

    Raises:
        OutputError: it cannot be written; the previous one stays.
    """
    # in memory first: torch turns what the disk says into errors of its own
    content = io.BytesIO()
    torch.save({"version": VERSION, **state}, content)
    atomic.write(path, content.getvalue())


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint; tensors and plain data only, no code is run.

    Raises:
        UserError: missing, damaged, or of another version.
    """
    path = Path(path).expanduser()
    try:
        if stat.S_ISFIFO(path.stat().st_mode):
            raise UserError(f"checkpoint {path} is not a file", "Give the path of a .pt file")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a pickle in another protocol, on its way to being refused
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"checkpoint {path} cannot be read ({error.strerror})", "Give the path of a .pt file") from None
    except pickle.UnpicklingError:  # its own text advises to load the file as code
        raise UserError(f"checkpoint {path} is damaged or not a checkpoint") from None
    except UserError:
        raise
    except Exception as error:  # damaged bytes bring torch's unpickler to raise whatever there is
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"checkpoint {path} is damaged or not a checkpoint ({reason[:120]})") from None
    if not isinstance(state, dict) or "version" not in state:
        raise UserError(f"checkpoint {path} was not written by snnrun")
    if not isinstance(state["version"], int):  # a tensor has no truth value to compare by
        raise UserError(f"checkpoint {path} was not written by snnrun")
    if state["version"] != VERSION:
        raise UserError(
            f"checkpoint {path} has version {state['version']}, this snnrun reads version {VERSION}",
            "Use the version of snnrun that wrote it, or train anew",
        )
    missing = [key for key in _KEYS if key not in state]
    if missing:
        raise UserError(f"checkpoint {path} is not whole: it has no {missing[0]}")
    return state


def load_network(network: torch.nn.Module, state: Mapping[str, Any], path: str | Path) -> None:
    """Put a checkpoint's weights into a network.

    Raises:
        UserError: names the first weight that does not fit.
    """
    with whole(path):
        _load_network(network, state, path)


def _load_network(network: torch.nn.Module, state: Mapping[str, Any], path: str | Path) -> None:
    ours, theirs = network.state_dict(), state["network"]
    if not isinstance(theirs, Mapping):
        raise UserError(f"checkpoint {path} holds no weights")
    for name in [*ours, *theirs]:
        shapes = [tuple(weights[name].shape) if name in weights else "nothing" for weights in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise UserError(f"checkpoint {path} does not fit: {name} is {shapes[1]} there and {shapes[0]} here")
    for name, weight in theirs.items():
        if not torch.isfinite(weight).all():
            raise UserError(f"checkpoint {path} holds a weight that is not finite: {name}", "Take an earlier one")
    network.load_state_dict(dict(theirs))


@contextmanager
def whole(path: str | Path) -> Iterator[None]:
    """Around whatever takes a checkpoint apart: a part that is missing or of a wrong kind becomes one line."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, ArithmeticError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"checkpoint {path} does not fit or is not whole ({reason[:120]})") from None


def random_states(device: torch.device) -> dict[str, Any]:
    """State of the generators that a run seeds: torch's, on the CPU and on its device."""
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
    }


def set_random_states(states: Mapping[str, Any], device: torch.device) -> None:
    """Put back what :func:`random_states` gave; a GPU's state is left out where the run goes on without one."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"], device)
