"""Models by name: a layer list, the neuron's constants and the initial weights."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

from snnrun.errors import UserError
from snnrun.kernels import NeuronConstants, unit_beta
from snnrun.methods import Method
from snnrun.registry import param, register
from snnrun.snn.architecture import parse_layers
from snnrun.snn.network import Network
from snnrun.snn.neuron import Neuron


@dataclass
class Model:
    """Base of models.

    Attributes:
        layers: layer list, see :mod:`snnrun.snn.architecture`.
        alpha_i, alpha_v: decay of synaptic current and membrane potential per step.
        beta_i: scale of the synaptic input.
        beta_v, beta_bias: scales of current and bias in the potential; auto: one input spike of weight 1 just reaches
            the threshold.
        init: ``plain`` (uniform within 1 / sqrt(fan_in), times ``gain``, plus ``shift``), or ``calibrate`` (then each
            layer is scaled until its neurons fire ``rate`` spikes per sample on one batch).
    """

    name: ClassVar[str]

    layers: Any = "fc800-out"
    alpha_i: float = param(0.99, ge=0, le=1)
    alpha_v: float = param(0.99, ge=0, le=1)
    beta_i: float = param(1.0, gt=0)
    beta_v: Any = "auto"
    beta_bias: Any = "auto"
    init: str = param("plain", choices=("plain", "calibrate"))
    gain: float = param(1.0, gt=0)
    shift: float = 0.0
    rate: float = param(1.0, gt=0)

    def check(self) -> None:
        """Hold what dataclass types cannot say.

        Raises:
            UserError: names the option.
        """
        for name in ("beta_v", "beta_bias"):
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value != "auto" and not (number and 0 < value < float("inf")):
                raise UserError(f"model.{name} is {value!r}", "It must be auto or a number above 0")
        if not isinstance(self.layers, str | list):
            raise UserError(f"model.layers is {self.layers!r}", "Join tokens by '-', as in fc256-out")

    def constants(self, T: int) -> NeuronConstants:
        """The neuron's constants for a window of T steps."""
        auto = unit_beta(self.alpha_i, self.alpha_v, T)
        beta_v, beta_bias = (auto if beta == "auto" else float(beta) for beta in (self.beta_v, self.beta_bias))
        return NeuronConstants(self.alpha_i, self.alpha_v, self.beta_i, beta_v, beta_bias)

    def build(self, shape: tuple[int, ...], outputs: int, T: int, method: Method, kernel: ModuleType) -> Network:
        """A network with PyTorch's default weights; the caller seeds and initialises."""
        specs = parse_layers(self.layers, shape, outputs)
        return Network(specs, Neuron(self.constants(T), method, kernel))


@register("model", "mlp")
@dataclass
class MLP(Model):
    """One hidden layer of 800, the network of the paper's experiments."""


@register("model", "mlp_small")
@dataclass
class SmallMLP(Model):
    """One hidden layer of 256 with short time constants, for small images and short windows.

    Weights are lifted: with few inputs, PyTorch's default leaves nearly all neurons silent, and a timing gradient
    cannot wake them.
    """

    layers: Any = "fc256-out"
    alpha_i: float = param(0.97, ge=0, le=1)
    alpha_v: float = param(0.97, ge=0, le=1)
    shift: float = 0.05


@register("model", "mlp_events")
@dataclass
class EventMLP(Model):
    """One hidden layer of 256 for event recordings, with time constants of 20 steps.

    Weights are scaled until the neurons of each layer fire once per sample of the first batch, however many events the
    recordings have.
    """

    layers: Any = "fc256-out"
    alpha_i: float = param(0.95, ge=0, le=1)
    alpha_v: float = param(0.95, ge=0, le=1)
    init: str = param("calibrate", choices=("plain", "calibrate"))


@register("model", "conv")
@dataclass
class ConvNet(Model):
    """Two convolutions with average pooling."""

    layers: Any = "conv12c5-apool2-conv32c5-apool2-out"
    alpha_i: float = param(0.95, ge=0, le=1)
    alpha_v: float = param(0.95, ge=0, le=1)
