"""Checkpoints: written whole or not at all, read as data."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from snnrun.errors import UserError

VERSION = 1
_KEYS = ("version", "config", "network", "epoch", "step")


def save(path: Path, state: Mapping[str, Any]) -> None:
    """Write to a temporary name, flush to disk, rename; the previous checkpoint survives until then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with temporary.open("wb") as file:
            torch.save({"version": VERSION, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint; tensors and plain data only, no code is run.

    Raises:
        UserError: missing, damaged, or of another version.
    """
    path = Path(path).expanduser()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"checkpoint {path} cannot be read ({error.strerror})", "Give the path of a .pt file") from None
    except pickle.UnpicklingError:  # its own text advises to load the file as code
        raise UserError(f"checkpoint {path} is damaged or not a checkpoint") from None
    except (RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile, OSError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"checkpoint {path} is damaged or not a checkpoint ({reason[:120]})") from None
    if not isinstance(state, dict) or any(key not in state for key in _KEYS):
        raise UserError(f"checkpoint {path} was not written by snnrun")
    if state["version"] != VERSION:
        raise UserError(f"checkpoint {path} has version {state['version']}, this snnrun reads version {VERSION}")
    return state


def load_network(network: torch.nn.Module, state: Mapping[str, Any], path: str | Path) -> None:
    """Put a checkpoint's weights into a network.

    Raises:
        UserError: names the first weight that does not fit.
    """
    ours, theirs = network.state_dict(), state["network"]
    if not isinstance(theirs, Mapping):
        raise UserError(f"checkpoint {path} holds no weights")
    for name in [*ours, *theirs]:
        shapes = [tuple(weights[name].shape) if name in weights else "nothing" for weights in (ours, theirs)]
        if shapes[0] != shapes[1]:
            raise UserError(f"checkpoint {path} does not fit: {name} is {shapes[1]} there and {shapes[0]} here")
    network.load_state_dict(dict(theirs))
