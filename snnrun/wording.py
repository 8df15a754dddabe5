"""How one line says what several lines of a library's complaint say, and what may have been meant."""

import difflib
from collections.abc import Iterator, Sequence


def did_you_mean(key: str, known: Sequence[str], prefix: str) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    guess = f"Did you mean {prefix}{close[0]}? " if close else ""
    return f"{guess}Known here: {', '.join(known)}" if known else "Nothing can be set here"


def first_sentence(error: Exception) -> str:
    """Hydra and OmegaConf explain themselves over several lines; the first ones say what is wrong."""
    return ". ".join(_lines(str(error)))


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        line = line.strip()
        if line.startswith(("full_key:", "object_type=", "reference_type=", "To append to your config", "See https")):
            continue
        if line:
            yield line.rstrip(".")
