"""scikit-learn's handwritten digits: 1,797 real images of 8 x 8 with 17 grey levels, bundled with the package."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from snnrun.data.dataset import MOST_STEPS
from snnrun.data.images import ImageDataset, Images
from snnrun.data.report import Reporter
from snnrun.data.splits import stratified_sample
from snnrun.registry import param, register

_TEST_SIZE = 360  # a stratified fifth, the same for every seed and every split_seed


@register("dataset", "digits")
@dataclass
class Digits(ImageDataset):
    """UCI Optical Recognition of Handwritten Digits (its test part), as scikit-learn bundles it."""

    shape = (1, 8, 8)
    outputs = 10
    k_max = 16
    loss_options = MappingProxyType({"latency": {"lambda_nospike": 0.5}})  # 0.1 leaves 2 % of the test undecided

    T: int = param(60, ge=1, le=MOST_STEPS)
    t_last: int = param(32, ge=0)

    def images(self, report: Reporter) -> tuple[Images, Images]:
        from sklearn.datasets import load_digits

        bunch = load_digits()
        pixels = bunch.images.astype(np.uint8)[:, None]
        labels = bunch.target.astype(np.int64)
        everything = np.arange(len(labels))
        test = stratified_sample(labels, everything, _TEST_SIZE, seed=0)
        train = np.setdiff1d(everything, test)
        return (pixels[train], labels[train]), (pixels[test], labels[test])
