"""The command ``snnrun``, also as ``python -m snnrun``."""

import sys


def main() -> int:
    """Run the command line. Ctrl-C ends in one line from the start, and importing takes a while."""
    try:
        from snnrun.cli import main as run

        return run()
    except KeyboardInterrupt:
        print("snnrun: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
