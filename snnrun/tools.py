"""What the command-line tools beside ``snnrun`` itself share: a console, and errors that become exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from rich.console import Console

from snnrun.errors import UserError

_PIPE_WIDTH = 10_000  # a file or pipe has no width at which to break lines


class _Console(Console):
    """Leaves to its caller what a reader that goes away means; rich would end with exit code 1."""

    def on_broken_pipe(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing is left to be flushed at the end
        raise BrokenPipeError


def ended(tool: Callable[[], int]) -> int:
    """What a tool returns; 2 for a user's error, told in one line, 130 where it was stopped, 0 behind ``| head``."""
    try:
        return tool()
    except UserError as error:
        print(f"snnrun: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        print("snnrun: stopped", file=sys.stderr)
        return 130


def make_console() -> Console:
    """The terminal; or plain, unbroken lines for a file or pipe."""
    console = _Console(highlight=False)
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    return console
