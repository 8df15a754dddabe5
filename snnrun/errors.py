"""The errors that a user can cause, and the requests to stop."""


def one_line(text: str) -> str:
    """Text as one line that a terminal can show: what came from a stranger's file must not move its cursor."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in " ".join(text.split()))


class UserError(Exception):
    """Something the user can mend; shown as one line ``WHAT. TRY.`` with exit code 2."""

    def __init__(self, what: str, hint: str = "") -> None:
        what, hint = one_line(what), one_line(hint)
        parts = [part if part[-1] in ".?!" else f"{part}." for part in (what, hint) if part]
        super().__init__(" ".join(parts))


class PairError(UserError):
    """Each choice is fine, but they cannot work together; in a sweep, other jobs may."""


class NotOurs(UserError):
    """A folder belongs to another run, or to one that is at work; nothing there may be changed."""


class OutputError(UserError):
    """A file of the run cannot be written: full disk, folder gone or not writable."""


class DivergedError(UserError):
    """Training produced a loss, a gradient or a weight that is not finite; ``when`` says where, ``lr`` the rate."""

    def __init__(self, what: str, when: str, lr: float) -> None:
        hint = f"Lower optimizer.lr ({lr:g} now); checkpoints of earlier epochs are kept"
        super().__init__(f"{what} is not finite {when}", hint)


class Interrupted(Exception):
    """A stop signal arrived and the run has saved its state; ``signum`` is the signal."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by signal {signum}")
        self.signum = signum
