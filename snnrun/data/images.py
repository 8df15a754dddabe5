"""What all image data sets share: coding options and the step from pixels to a source."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from snnrun.data.codings import CodedImages
from snnrun.data.dataset import Dataset, Source
from snnrun.data.report import Reporter
from snnrun.errors import UserError
from snnrun.registry import param

Images = tuple[np.ndarray, np.ndarray]  # pixels [n, *shape] and labels int64 [n]


@dataclass
class ImageDataset(Dataset):
    """Base of image data sets; a subclass gives :meth:`images`.

    Attributes:
        coding: ``latency`` (every pixel spikes once, bright ones first) or ``rate``.
        t_last: step at which the darkest pixel that spikes may spike (latency).
        max_rate: spike probability per step of the brightest pixel (rate).
    """

    k_max: ClassVar[int] = 255

    coding: str = param("latency", choices=("latency", "rate"))
    t_last: int = param(24, ge=0)
    max_rate: float = param(0.2, ge=0, le=1)

    def images(self, report: Reporter) -> tuple[Images, Images]:
        """Training and test images.

        Raises:
            UserError: data is missing or damaged.
        """
        raise NotImplementedError(f"{type(self).__name__} needs images()")

    def check(self) -> None:
        super().check()
        if self.coding == "latency" and self.t_last >= self.T:
            raise UserError(
                f"dataset.T={self.T} leaves no step for input spikes up to dataset.t_last={self.t_last}",
                "Make dataset.T larger than dataset.t_last",
            )

    def sources(self, seed: int, report: Reporter) -> tuple[Source, Source]:
        train, test = (
            CodedImages(pixels, labels, self.k_max, self.T, self.coding, self.t_last, self.max_rate, seed, stream)
            for stream, (pixels, labels) in enumerate(self.images(report))
        )
        return train, test
