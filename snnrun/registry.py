"""Components by name: one decorator per component, one dataclass for its parameters.

A component *is* a dataclass whose fields are its parameters, with their ranges in :func:`param`. Config files name it
(``name: hybrid``) and set fields; nothing in a config can name a Python path, so a config cannot call code.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

from snnrun.errors import UserError

GROUPS = ("method", "loss", "dataset", "model", "optimizer", "scheduler", "logger")

Component = TypeVar("Component", bound=type)

_BEYOND = {int: 2**63, float: 3.4e38}

_components: dict[str, dict[str, type]] = {group: {} for group in GROUPS}


class Search(NamedTuple):
    """The range in which a search draws values of an option: whole numbers if both ends are, evenly on a log scale."""

    low: float
    high: float
    log: bool = False


def param(
    default: Any,
    *,
    gt: float | None = None,
    ge: float | None = None,
    lt: float | None = None,
    le: float | None = None,
    choices: Sequence[Any] | None = None,
    search: Search | None = None,
) -> Any:
    """A dataclass field: default, range that user values must keep (None always passes), range to search in."""
    limits = {"gt": gt, "ge": ge, "lt": lt, "le": le, "choices": choices, "search": search}
    metadata = {name: limit for name, limit in limits.items() if limit is not None}
    if isinstance(default, list | dict):
        kind, content = type(default), default
        return dataclasses.field(default_factory=lambda: kind(content), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def register(group: str, name: str) -> Callable[[Component], Component]:
    """Class decorator: make the dataclass selectable as ``group=name``.

    Raises:
        ValueError: unknown group, not a dataclass, or a name that another class holds.
    """
    if group not in _components:
        raise ValueError(f"no component group {group!r}; groups are {', '.join(GROUPS)}")

    def add(component: Component) -> Component:
        if not dataclasses.is_dataclass(component):
            raise ValueError(f"{component.__name__} must be a dataclass: put @dataclass below @register")
        holder = _components[group].get(name)
        # A plugin that is imported again in one process (serial jobs, tests) replaces itself.
        if holder is not None and (holder.__module__, holder.__qualname__) != (
            component.__module__,
            component.__qualname__,
        ):
            raise ValueError(f"{group} {name!r} is registered by {holder.__module__}.{holder.__qualname__} already")
        _components[group][name] = component
        component.name = name  # type: ignore[attr-defined]
        return component

    return add


def names(group: str) -> list[str]:
    """The registered names of a group, in order of registration."""
    return list(_components[group])


def component(group: str, name: str) -> Any:
    """The class registered as ``group=name``.

    Raises:
        UserError: no such component; the message lists those that exist.
    """
    try:
        return _components[group][name]
    except KeyError:
        known = ", ".join(names(group))
        hint = f"Choose from: {known}; or name the module that registers it, as plugins=[MODULE]"
        raise UserError(f"{group}.name is {name!r}, which does not exist", hint) from None


def check_ranges(instance: Any, prefix: str) -> None:
    """Hold every field of a dataclass instance to the limits given in :func:`param`.

    Raises:
        UserError: names the option, the value and the range.
    """
    for name, value, problem in _violations(instance):
        raise UserError(f"{prefix}{name} is {value!r}", f"It must be {problem}")


def _violations(instance: Any) -> Iterator[tuple[str, Any, str]]:
    for field in dataclasses.fields(instance):
        value = getattr(instance, field.name)
        limits = field.metadata
        if value is None:
            continue
        if isinstance(value, float) and math.isnan(value):
            yield field.name, value, "a number"
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) >= _BEYOND[type(value)]:
            yield field.name, value, "finite in float32" if isinstance(value, float) else "below 2^63"
        if "choices" in limits and value not in limits["choices"]:
            yield field.name, value, "one of " + ", ".join(map(str, limits["choices"]))
        bounded = any(key in limits for key in ("gt", "ge", "lt", "le"))
        if not bounded or not isinstance(value, int | float):
            continue
        if not (
            value > limits.get("gt", -math.inf)
            and value >= limits.get("ge", -math.inf)
            and value < limits.get("lt", math.inf)
            and value <= limits.get("le", math.inf)
        ):
            yield field.name, value, _range_in_words(limits)


def _range_in_words(limits: Any) -> str:
    words = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
    return " and ".join(f"{word} {limits[key]:g}" for key, word in words.items() if key in limits) + ", and finite"


def options_of(group: str) -> set[str]:
    """Options that any component of a group has."""
    classes = [component(group, name) for name in names(group)]
    return {field.name for cls in classes for field in dataclasses.fields(cls)}
