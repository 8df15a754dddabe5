"""For torchrun: one gradient of a whole batch, by one process and by all, for every method and loss. Prints JSON."""

import itertools
import json

import numpy as np
import torch

from snnrun import kernels
from snnrun.config import learnable
from snnrun.distributed import World, join
from snnrun.losses import Latency, Loss, Targets
from snnrun.methods import Method
from snnrun.registry import component, names
from snnrun.snn import Network, Neuron, first_spike_time, parse_layers
from snnrun.snn.models import Model
from snnrun.step import gradient_step

T, CLASSES, SHAPE = 40, 3, (1, 6, 6)
SAMPLES = {"cpu": (1, 2, 5, 16), "reference": (5,)}  # fewer than processes, one each, uneven, many
LAYERS = {
    "cpu": ("fc20-fc12-out", "conv4c3-apool2-fc12-out"),
    "reference": ("fc20-fc12-out", "conv4c3-mpool2-fc12-out"),
}


def network(method: Method, layers: str, kernel: str) -> Network:
    torch.manual_seed(0)
    constants = Model(alpha_i=0.9, alpha_v=0.9).constants(T)
    made = Network(parse_layers(layers, SHAPE, CLASSES), Neuron(constants, method, kernels.load(kernel)))
    with torch.no_grad():
        for synapse in made.synapses:
            synapse.weight.mul_(1.5).add_(0.08)
    return made


def batch(samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples that are driven more and more weakly, so that the last ones take longer to decide."""
    generator = torch.Generator().manual_seed(samples)
    rate = torch.linspace(0.15, 0.03, samples)[:, None, None, None]
    spikes = (torch.rand(T, samples, *SHAPE, generator=generator) < rate).float()
    return spikes, torch.randint(CLASSES, (samples,), generator=generator)


def gradients(net: Network, loss: Loss, samples: int, world: World) -> tuple[list[torch.Tensor], int]:
    """Of the whole batch, and the step by which this process's outputs have fired."""
    spikes, label = batch(samples)
    mine = world.part(np.arange(samples))
    net.zero_grad()
    _, trace = gradient_step(net, loss, spikes[:, mine], Targets(label[mine]), world, samples)
    found = [parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None]
    return found, int(first_spike_time(trace.output.s).max())


def main() -> None:
    world = join()
    report = []
    for kernel, name in itertools.product(LAYERS, names("method")):
        method = component("method", name)()
        losses = [component("loss", each)() for each in learnable(method)]
        # convolutions get no rate penalty from the timing method, and it lets no pass end early
        cases = [(loss, layers) for loss in losses for layers in LAYERS[kernel]]
        cases += [(type(loss)(rate_weight=0.01), LAYERS[kernel][0]) for loss in losses]
        for (loss, layers), samples in itertools.product(cases, SAMPLES[kernel]):
            net = network(method, layers, kernel)
            alone, last = gradients(net, loss, samples, World())
            shared, own_last = gradients(net, loss, samples, world)
            error = max(((a - b).norm() / a.norm()).item() for a, b in zip(alone, shared, strict=True))
            same = world.gather([gradient.tolist() for gradient in shared])
            report.append(
                {
                    "case": f"{name} {loss.name} r={loss.rate_weight} {layers} {kernel} B={samples}",
                    "error": error,
                    "agree": all(each == same[0] for each in same),
                    "moves": all(gradient.abs().max() > 0 for gradient in alone),
                    # some samples decide before others do, and the silence of the first ones' neurons goes on counting
                    "staggered": isinstance(loss, Latency) and world.most(-own_last) != -last and last < T,
                }
            )
    if world.is_first:
        print(json.dumps(report))
    world.end(0)


main()
