"""Launchers and sweepers that are named but not installed, and the pip extra that brings each."""

from __future__ import annotations

import importlib.util

from snnrun.errors import UserError

_EXTRAS = {  # module of the Hydra plugin: the extra that brings it ("": a dependency of snnrun itself)
    "hydra_joblib_launcher": "",
    "hydra_submitit_launcher": "submitit",
    "hydra_ray_launcher": "ray",
    "hydra_optuna_sweeper": "optuna",
}
_CHOICES = {"hydra/sweeper": {"optuna": "hydra_optuna_sweeper"}}  # those without a yaml of ours


def check_installed(choice: str, target: str) -> None:
    """Hold a launcher's or sweeper's ``_target_`` against what is installed.

    Raises:
        UserError: names the pip extra.
    """
    namespace, _, rest = target.partition(".")
    module = rest.split(".")[0]
    if namespace == "hydra_plugins" and not _is_there(f"{namespace}.{module}"):
        raise _missing(choice, module)


def missing_choice(group: str, name: str) -> UserError | None:
    """The error for a group's choice that only a plugin has, where that plugin is not installed."""
    module = _CHOICES.get(group.removesuffix("/sampler"), {}).get("optuna" if group.endswith("/sampler") else name)
    if module is None or _is_there(f"hydra_plugins.{module}"):
        return None
    return _missing(f"{group}={name}", module)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the namespace
        return False


def _missing(choice: str, module: str) -> UserError:
    extra = _EXTRAS.get(module)
    package = module.replace("_", "-")
    what = package if not extra else f"'snnrun[{extra}]'"
    return UserError(f"{choice} needs {package}, which is not installed", f"Try pip install {what}")
