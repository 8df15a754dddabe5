"""``snnrun-compare`` from a checkout: tables, statistics and plots from what runs left on disk.

python scripts/compare.py outputs/default/sweep_... --by method,loss --baseline activation
"""

import sys

from snnrun.compare.cli import main

sys.exit(main())
