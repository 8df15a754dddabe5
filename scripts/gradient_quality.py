"""What each method's gradient predicts for small changes of the weights, against what the loss then does.

python scripts/gradient_quality.py dataset=digits loss=spike_train --out outputs/gradient_quality
"""

import sys

from snnrun.gradients.cli import main

sys.exit(main())
