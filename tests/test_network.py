"""Layers, pools, layer lists and the weight hook."""

import pytest
import torch

from snnrun.errors import UserError
from snnrun.kernels import NeuronConstants, reference
from snnrun.losses import Count, Latency, Targets
from snnrun.methods import Activation, DenseActivity, Hybrid, Method, Timing
from snnrun.snn import LayerSpec, Network, Neuron, Spikes, parse_layers
from snnrun.snn.init import calibrate, shift_and_gain
from snnrun.snn.layers import AveragePool, Conv, Dense, MaxPool
from snnrun.step import gradient_step

CONSTANTS = NeuronConstants(0.9, 0.95, 1.0, 0.193, 0.193)


def build(layers: str, shape: tuple[int, ...], outputs: int, method: Method | None = None) -> Network:
    torch.manual_seed(0)
    return Network(parse_layers(layers, shape, outputs), Neuron(CONSTANTS, method or Hybrid(), reference))


def bits(*shape: int, rate: float = 0.3, seed: int = 0) -> torch.Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def test_layer_list_shapes() -> None:
    specs = parse_layers("2x34x34-conv12c5-apool2-conv64c5-apool2-fc10", (2, 34, 34), 10)
    assert [spec.out_shape for spec in specs] == [(12, 34, 34), (12, 17, 17), (64, 17, 17), (64, 8, 8), (4096,), (10,)]
    assert [spec.kind for spec in specs] == ["conv", "apool", "conv", "apool", "flatten", "dense"]


def test_out_stands_for_one_neuron_per_class() -> None:
    assert parse_layers("fc5-out", (3,), 7)[-1] == LayerSpec("dense", "fc7", (5,), (7,))
    assert parse_layers(["784", "fc5", "fc2"], (1, 28, 28), 2)[0].kind == "flatten"


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ("flatten-conv4c3-out", "conv4c3 on a flat input of 64"),
        ("apool9-out", "must not be larger than the map"),
        ("conv4c3-mpool4-mpool4-out", "mpool4 on a map of 2x2"),
        ("fc10-fc9", "must be fc10 or out"),
        ("conv4c3", "ends with conv4c3"),
        ("fc0-out", "Sizes start at 1"),
        ("conv4-out", "the token 'conv4'"),
        ("fc5c3-out", "the token 'fc5c3'"),
        ("dense5-out", "the token 'dense5'"),
        ("", "the token ''"),
        ("65-out", "the data set gives 1x8x8"),
        ("conv4c17-out", "Take a smaller kernel"),
    ],
)
def test_layer_lists_that_do_not_fit_are_named(layers: str, says: str) -> None:
    with pytest.raises(UserError, match=r"model\.layers") as caught:
        parse_layers(layers, (1, 8, 8), 10)
    assert says in str(caught.value)


def test_average_pool_floors_odd_maps_and_hands_on_both_channels() -> None:
    s, t = (torch.zeros(2, 1, 3, 5, 5, requires_grad=True) for _ in range(2))
    y = AveragePool(2)(Spikes(s, t))
    assert y.s.shape == (2, 1, 3, 2, 2)
    assert y.t is not None
    weights = torch.rand(2, 1, 3, 2, 2)
    ((y.s + 2 * y.t) * weights).sum().backward()
    assert s.grad is not None
    torch.testing.assert_close(s.grad[0, 0, 0, :2, 2:4], weights[0, 0, 0, 0, 1].expand(2, 2) / 4)
    torch.testing.assert_close(t.grad, 2 * s.grad)


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel")
@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
def test_the_timing_gradient_of_a_convolution_is_its_transpose_at_spikes(kernel: int) -> None:
    conv = Conv(2, 3, kernel)
    s = bits(4, 2, 2, 6, 7).requires_grad_()
    t = torch.zeros(4, 2, 2, 6, 7, requires_grad=True)
    current, timing = conv.currents(Spikes(s, t))
    assert timing is not None
    weights = torch.rand_like(current)
    (current * weights).sum().backward()
    (timing * weights).sum().backward()
    torch.testing.assert_close(t.grad, s.detach() * s.grad)


def test_max_pool_takes_the_first_of_ties_in_row_major_order() -> None:
    s = torch.zeros(1, 1, 1, 4, 4)
    s[0, 0, 0, 0, 1] = s[0, 0, 0, 1, 0] = 1  # a tie in the first window; the others are all zero
    t = torch.arange(16.0).view(1, 1, 1, 4, 4)
    y = MaxPool(2)(Spikes(s, t))
    assert y.s.flatten().tolist() == [1, 0, 0, 0]
    assert y.t is not None
    assert y.t.flatten().tolist() == [1, 2, 8, 10]


def test_max_pool_gradient_reaches_only_the_arg_max() -> None:
    s = torch.zeros(1, 1, 1, 2, 2, requires_grad=True)
    t = torch.zeros(1, 1, 1, 2, 2, requires_grad=True)
    y = MaxPool(2)(Spikes(s, t))
    assert y.t is not None
    (y.s + 2 * y.t).sum().backward()
    assert s.grad is not None
    assert t.grad is not None
    assert s.grad.flatten().tolist() == [1, 0, 0, 0]
    assert t.grad.flatten().tolist() == [2, 0, 0, 0]


def test_timing_channel_adds_nothing_to_the_weights() -> None:
    layer = Dense(4, 3)
    x = Spikes(bits(5, 2, 4), torch.zeros(5, 2, 4, requires_grad=True))
    _, timing = layer.currents(x)
    assert timing is not None
    timing.sum().backward()
    assert layer.weight.grad is None
    assert x.t is not None
    assert x.t.grad is not None
    torch.testing.assert_close(x.t.grad, x.s * layer.weight.detach().sum(0))


def test_synops_of_dense_and_conv() -> None:
    s = torch.zeros(3, 2, 4)
    s[0, 0, 1] = s[2, 0, 1] = s[1, 1, 3] = 1
    assert Dense(4, 7).synops(s).tolist() == [14, 7]
    frame = torch.zeros(1, 1, 2, 4, 4)
    frame[0, 0, 0, 0, 0] = 1  # corner: 2 x 2 of the 3 x 3 kernel fall inside
    frame[0, 0, 1, 0, 2] = 0.25  # edge: 2 x 3; a pooled value counts once
    frame[0, 0, 1, 2, 2] = 1  # inside: 3 x 3
    assert Conv(2, 5, 3).synops(frame).tolist() == [5 * (4 + 6 + 9)]


def test_synops_equal_the_synapses_that_a_convolution_really_has() -> None:
    """Against the dense matrix of the convolution: its non-zero entries in the columns of active inputs."""
    conv = Conv(2, 3, 5)
    torch.nn.init.constant_(conv.weight, 1.0)
    frame = bits(1, 1, 2, 6, 7, seed=4)
    units = torch.eye(2 * 6 * 7).view(1, -1, 2, 6, 7)
    matrix = conv.currents(Spikes(units))[0].flatten(2)[0]
    expected = sum(int((matrix[i] != 0).sum()) for i in frame.flatten().nonzero().flatten().tolist())
    assert conv.synops(frame).tolist() == [expected]


def test_activation_asks_for_no_timing_channel() -> None:
    trace = build("fc6-out", (5,), 3, Activation())(bits(8, 2, 5))
    assert all(layer.spikes.t is None for layer in trace.layers)


class Recorder(Timing):
    """Timing, remembering what its hook was shown."""

    def adjust_weight_gradient(self, layer: DenseActivity) -> None:
        self.seen = [*getattr(self, "seen", []), layer]
        super().adjust_weight_gradient(layer)


def test_no_spike_remedy_lifts_silent_neurons() -> None:
    method = Recorder(penalty=100.0)
    network = build("fc6-out", (5,), 3, method)
    with torch.no_grad():
        network.synapses[0].weight.fill_(-1.0)
    gradient_step(network, Latency(), bits(8, 4, 5), Targets(torch.tensor([0, 1, 2, 0])))
    hidden = network.synapses[0].weight.grad
    assert hidden is not None
    torch.testing.assert_close(hidden, torch.full((6, 5), -100.0 / 5))
    assert [layer.silent_share.tolist() for layer in method.seen] == [[1.0] * 6, [1.0] * 3]


def test_silence_counts_only_until_every_output_has_fired() -> None:
    """A neuron that first fires after `term` is silent for the remedy."""
    method = Recorder(penalty=1.0)
    network = Network(parse_layers("fc2-out", (1,), 1), Neuron(NeuronConstants(0, 0, 1, 1, 1), method, reference))
    with torch.no_grad():
        network.synapses[0].weight.copy_(torch.tensor([[1.0], [0.5]]))
        network.synapses[1].weight.copy_(torch.tensor([[1.0, 0.0]]))
    spikes = torch.zeros(5, 1, 1)
    spikes[1] = 1  # neuron 0 and the output fire at step 1: term = 2
    spikes[3] = 2  # lifts neuron 1 over the threshold, after term
    gradient_step(network, Latency(), spikes, Targets(torch.tensor([0])))
    assert method.seen[0].silent_share.tolist() == [0.0, 1.0]
    assert method.seen[0].mean_spikes.tolist() == [2.0, 1.0]


def test_rate_penalty_reaches_timing_through_its_hook() -> None:
    spikes, targets = bits(20, 4, 5, rate=0.5), Targets(torch.tensor([0, 1, 2, 0]))
    weights = []
    for rate_weight in (0.0, 0.6):
        method = Recorder(penalty=0.0)
        network = build("fc6-out", (5,), 3, method)
        shift_and_gain(network, 2.0, 0.3)
        gradient_step(network, Latency(rate_weight=rate_weight), spikes, targets)
        weights.append([synapse.weight.grad for synapse in network.synapses])
    mean_spikes = method.seen[0].mean_spikes
    assert mean_spikes.sum() > 0
    torch.testing.assert_close(weights[1][0] - weights[0][0], (0.6 / 5 * mean_spikes)[:, None].expand(6, 5))
    torch.testing.assert_close(weights[1][1], weights[0][1])  # no penalty on output spikes


def test_rate_penalty_reaches_activation_through_its_gradient() -> None:
    network = build("fc6-out", (5,), 3, Activation())
    shift_and_gain(network, 2.0, 0.3)
    spikes, targets = bits(20, 4, 5, rate=0.5), Targets(torch.tensor([0, 1, 2, 0]))
    plain, _ = gradient_step(network, Count(), spikes, targets)
    before = network.synapses[0].weight.grad.clone()  # type: ignore[union-attr]
    network.zero_grad()
    penalised, trace = gradient_step(network, Count(rate_weight=0.1), spikes, targets)
    assert (penalised - plain).item() == pytest.approx(0.1 / 4 * trace.layers[0].spikes.s.sum().item(), rel=1e-5)
    after = network.synapses[0].weight.grad
    assert (after - before).sum() > 0  # type: ignore[operator]


def test_hybrid_is_the_weighted_sum_of_both_formulas() -> None:
    gs, gt, v = (torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    s, slope = (v >= 1).float(), v.abs() + 0.01
    both = Hybrid(lambda_act=0.3, lambda_tim=0.7).membrane_gradient(gs, gt, v, s, slope)
    activation = Activation().membrane_gradient(gs, gt, v, s, slope)
    timing = Timing().membrane_gradient(gs, gt, v, s, slope)
    torch.testing.assert_close(both, 0.3 * activation + 0.7 * timing)
    torch.testing.assert_close(activation, torch.exp(-3 * (v - 1).abs()) * gs)
    assert timing[s == 0].abs().sum() == 0


def test_calibrate_reaches_the_rate_layer_by_layer() -> None:
    network = build("fc40-fc30-out", (20,), 10)
    x = bits(40, 16, 20, rate=0.1)
    reached = calibrate(network, x, 1.5)
    trace = network(x)
    rates = [layer.spikes.s.sum().item() / layer.spikes.s[0].numel() for layer in trace.layers]
    assert reached == pytest.approx(rates)
    assert rates == pytest.approx([1.5] * 3, rel=0.15)


def test_calibrate_gets_as_far_as_it_can() -> None:
    network = build("fc40-out", (20,), 10)
    x = torch.zeros(30, 4, 20)
    x[0] = bits(4, 20, rate=0.5)  # inputs spike once, together: at most one spike a neuron, and only where w x > 0
    hidden, output = calibrate(network, x, 5.0)
    assert 0.2 < hidden < 0.6
    assert output > 0


def test_calibrate_leaves_weights_alone_where_no_scale_helps() -> None:
    network = build("fc4-out", (5,), 3)
    with torch.no_grad():
        network.synapses[0].weight.fill_(-0.1)
    before = network.synapses[0].weight.clone()
    assert calibrate(network, bits(10, 2, 5), 1.0) == [0.0, 0.0]
    torch.testing.assert_close(network.synapses[0].weight, before)


def test_shift_and_gain() -> None:
    network = build("fc4-out", (5,), 3)
    before = [synapse.weight.clone() for synapse in network.synapses]
    shift_and_gain(network, 2.0, 0.05)
    for synapse, old in zip(network.synapses, before, strict=True):
        torch.testing.assert_close(synapse.weight, 2 * old + 0.05)
        assert synapse.bias.abs().sum() == 0
