"""Optimizers and learning-rate schedules by name, from torch.optim."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn, optim
from torch.optim import lr_scheduler

from snnrun.registry import param, register


class Stored:
    """Parameters as they lie in memory: a weight stored input-major stands for its transpose.

    Fused optimizers work on contiguous memory; on anything else they copy, and take six times as long.

    Attributes:
        parameters: what an optimizer is given; they share memory with the network's.
    """

    def __init__(self, network: nn.Module) -> None:
        self._pairs = []
        for parameter in network.parameters():
            transposed = parameter.dim() == 2 and not parameter.is_contiguous()
            self._pairs.append((parameter, nn.Parameter(parameter.detach().t()) if transposed else parameter))
        self.parameters = [stored for _, stored in self._pairs]

    def take_gradients(self) -> list[Tensor]:
        """Hand the network's gradients on; the same memory, in the order of ``parameters``."""
        gradients = []
        for parameter, stored in self._pairs:
            assert parameter.grad is not None
            if stored is not parameter:
                stored.grad = parameter.grad.t().contiguous()
            assert stored.grad is not None
            gradients.append(stored.grad)
        return gradients


@dataclass
class Optimizer:
    """Base of optimizer settings."""

    name: ClassVar[str]

    lr: float = param(1e-3, gt=0)
    weight_decay: float = param(0.0, ge=0)

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        raise NotImplementedError(f"{type(self).__name__} needs build()")


@register("optimizer", "adam")
@dataclass
class Adam(Optimizer):
    """Adam; weight decay as an L2 term in the gradient."""

    beta1: float = param(0.9, ge=0, lt=1)
    beta2: float = param(0.999, ge=0, lt=1)
    eps: float = param(1e-8, gt=0)

    kind: ClassVar[type[optim.Adam]] = optim.Adam

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        return self.kind(
            parameters,
            lr=self.lr,
            betas=(self.beta1, self.beta2),
            eps=self.eps,
            weight_decay=self.weight_decay,
            fused=True,
        )


@register("optimizer", "adamw")
@dataclass
class AdamW(Adam):
    """Adam with decoupled weight decay."""

    kind: ClassVar[type[optim.Adam]] = optim.AdamW


@register("optimizer", "sgd")
@dataclass
class SGD(Optimizer):
    """Stochastic gradient descent."""

    momentum: float = param(0.0, ge=0, lt=1)

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        return optim.SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay, fused=True)


@dataclass
class Scheduler:
    """Base of schedules; all are stepped once per optimizer step.

    Attributes:
        depends_on_epochs: whether the course up to some epoch depends on how many are to come; such a run cannot be
            resumed with more of them.
    """

    name: ClassVar[str]
    depends_on_epochs: ClassVar[bool] = True

    def build(self, optimizer: optim.Optimizer, epochs: int, steps_per_epoch: int) -> lr_scheduler.LRScheduler:
        raise NotImplementedError(f"{type(self).__name__} needs build()")


@register("scheduler", "none")
@dataclass
class Constant(Scheduler):
    """The learning rate stays."""

    depends_on_epochs = False

    def build(self, optimizer: optim.Optimizer, epochs: int, steps_per_epoch: int) -> lr_scheduler.LRScheduler:
        return lr_scheduler.ConstantLR(optimizer, factor=1.0)


@register("scheduler", "step")
@dataclass
class Step(Scheduler):
    """Times ``factor`` every ``every`` epochs."""

    depends_on_epochs = False

    every: int = param(10, ge=1)
    factor: float = param(0.1, gt=0)

    def build(self, optimizer: optim.Optimizer, epochs: int, steps_per_epoch: int) -> lr_scheduler.LRScheduler:
        return lr_scheduler.StepLR(optimizer, self.every * steps_per_epoch, self.factor)


@register("scheduler", "cosine")
@dataclass
class Cosine(Scheduler):
    """Half a cosine from the learning rate down to ``final`` times it, at the last step."""

    final: float = param(0.0, ge=0, le=1)

    def build(self, optimizer: optim.Optimizer, epochs: int, steps_per_epoch: int) -> lr_scheduler.LRScheduler:
        lowest = self.final * optimizer.defaults["lr"]
        return lr_scheduler.CosineAnnealingLR(optimizer, epochs * steps_per_epoch, eta_min=lowest)


@register("scheduler", "onecycle")
@dataclass
class OneCycle(Scheduler):
    """Up from ``start`` times the learning rate to it in the first ``warmup`` of all steps, then down to ``final``
    times it, each along a cosine (Smith & Topin 2018, torch's OneCycleLR). Momentum stays as the optimizer has it."""

    warmup: float = param(0.3, gt=0, lt=1)
    start: float = param(0.04, gt=0, le=1)
    final: float = param(4e-6, gt=0, le=1)

    def build(self, optimizer: optim.Optimizer, epochs: int, steps_per_epoch: int) -> lr_scheduler.LRScheduler:
        return lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=optimizer.defaults["lr"],
            total_steps=epochs * steps_per_epoch,
            pct_start=self.warmup,
            cycle_momentum=False,
            div_factor=1 / self.start,
            final_div_factor=self.start / self.final,
        )
