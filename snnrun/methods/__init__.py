"""Gradient methods: one short file each. Importing this package registers them."""

from snnrun.methods.activation import Activation
from snnrun.methods.base import DenseActivity, Method
from snnrun.methods.hybrid import Hybrid
from snnrun.methods.timing import Timing

__all__ = ["Activation", "DenseActivity", "Hybrid", "Method", "Timing"]
