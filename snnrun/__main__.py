"""``python -m snnrun``, the same as the command ``snnrun``."""

import sys

from snnrun.cli import main

sys.exit(main())
