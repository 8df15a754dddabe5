"""Secrets of the environment stay out of configs, and with that out of config.yaml, logs, folder names and W&B."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from snnrun.errors import UserError

_ENDINGS = ("API_KEY", "ACCESS_KEY", "PRIVATE_KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD")
_SHORTEST = 8  # shorter values would be found in innocent texts


def refuse_secrets(node: Any, where: str = "") -> None:
    """Go through plain data.

    Raises:
        UserError: a text holds the value of a secret variable, or would read it (``${oc.env:WANDB_API_KEY}``).
    """
    secrets = {
        name: value for name, value in os.environ.items() if name.upper().endswith(_ENDINGS) and len(value) >= _SHORTEST
    }
    for place, text in _texts(node, where):
        for name, value in secrets.items():
            if value in text or f"oc.env:{name}" in text:
                option = "an option's name" if value in place else place
                raise UserError(
                    f"{option} holds the secret of the environment variable {name}",
                    "A config is written to disk and shown by W&B: leave it out",
                )


def _texts(node: Any, where: str) -> Iterator[tuple[str, str]]:
    """Every text below a node, with the dotted name of its place; names are texts themselves."""
    if isinstance(node, str):
        yield where, node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            place = f"{where}.{key}" if where else str(key)
            yield place, str(key)
            yield from _texts(value, place)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from _texts(value, where)
