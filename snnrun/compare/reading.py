"""Reading files that anybody may have written, or damaged: bounded, typed, and never more than :class:`Damaged`."""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from snnrun.errors import one_line

# libyaml's loader is eight times faster than the one in Python
_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MOST_BYTES = 4 << 20  # summary.json, config.yaml and test_curve.json have some KB
_MOST_BYTES_OF_ROWS = 256 << 20
_MOST_SETTINGS = 5_000  # a YAML file of some lines can stand for billions of values
_DEEPEST = 20
_LONGEST_LIST = 100  # elements that are read


class Damaged(Exception):
    """A file is not what a run leaves; says which and why."""


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file."""
    return _json(_text(path, _MOST_BYTES), path.name)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file. A last row cut short, as a killed run leaves it, is left out."""
    lines = _text(path, _MOST_BYTES_OF_ROWS).splitlines()
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(_json(line, f"row {number} of {path.name}"))
        except Damaged:
            if number < len(lines):
                raise
    return rows


def read_settings(path: Path) -> dict[str, Any]:
    """A YAML file as dotted keys and plain values: ``{"method.name": "hybrid", "seed": 0, ...}``."""
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise Damaged(f"{path.name} holds no options")
    settings: dict[str, Any] = {}
    for count, (key, value) in enumerate(_leaves(content, path.name, "")):
        settings[key] = value
        if count >= _MOST_SETTINGS:
            raise Damaged(f"{path.name} holds more than {_MOST_SETTINGS:,} options")
    return settings


def read_yaml(path: Path) -> Any:
    """The plain data in a YAML file; no tag can build anything else."""
    text = _text(path, _MOST_BYTES)
    try:
        return yaml.load(text, Loader=_YAML_LOADER)
    except Exception as error:  # PyYAML lets through what int(), datetime() and others raise
        raise Damaged(f"{path.name} is no valid YAML ({type(error).__name__})") from None


def number(value: Any) -> float | None:
    """A finite number, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def clean(text: str, longest: int = 300) -> str:
    """One line without control characters, so that a stranger's file cannot drive the terminal."""
    line = one_line(text[: 2 * longest])
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _text(path: Path, most: int) -> str:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            raise Damaged(f"{path.name} is no file")
        if status.st_size > most:
            raise Damaged(f"{path.name} is too large ({status.st_size / 1e6:,.0f} MB)")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Damaged(f"{path.name} is missing") from None
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise Damaged(f"{path.name} is no text") from None


def _json(text: str, name: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise Damaged(f"{name} is no valid JSON") from None
    if not isinstance(content, dict):
        raise Damaged(f"{name} is no JSON object")
    return content


def _leaves(node: Any, name: str, prefix: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    if depth > _DEEPEST:
        raise Damaged(f"{name} is nested too deeply")
    if isinstance(node, Mapping) and node:
        for key, value in node.items():
            text = str(_plain(key))
            yield from _leaves(value, name, f"{prefix}.{text}" if prefix else text, depth + 1)
    elif isinstance(node, list) and any(isinstance(value, list | Mapping) for value in node):
        for index, value in enumerate(node):
            yield from _leaves(value, name, f"{prefix}.{index}", depth + 1)
    elif isinstance(node, list):
        yield prefix, clean(f"[{', '.join(str(_plain(value)) for value in node[:_LONGEST_LIST])}]", 10 * _LONGEST_LIST)
    else:
        yield prefix, _plain(node)


def _plain(value: Any) -> Any:
    """A value that can be compared, hashed and shown."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if number(value) is None or abs(value) > 2**63:
            return "out of range"
        return value
    return clean(value if isinstance(value, str) else type(value).__name__)
