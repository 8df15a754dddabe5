"""The rows of a block: which state lies where; shared by the loops and the formulas compiled for them."""

import numpy as np

from snnrun.kernels import constants

WIDTHS = (16, 64, 80)  # lanes of a block
AHEAD = 8  # events whose rows are asked for before they are needed: they lie anywhere, and no hardware can guess where

MIN_SLOPE = np.float32(constants.MIN_SLOPE)

# In the forward pass: synaptic current and potential (as kept after a spike), input, bias drive.
I, U, X, DRIVE = range(4)  # noqa: E741

# In the backward pass: gradients from above, the recurrences' states, and a row that stays 0.
GS, GT, DEP, GI, BIAS, E1, E2, H, ZERO = range(9)
ROWS = 9
