"""Average pooling of the CPU kernel against torch's."""

import pytest
import torch
import torch.nn.functional as F

from snnrun.kernels.cpu import average_pool, spread
from snnrun.kernels.cpu.buffers import empty_tensor


@pytest.mark.parametrize(("height", "width", "size"), [(34, 34, 2), (17, 17, 2), (7, 9, 3), (5, 4, 1), (3, 3, 3)])
def test_pooling_and_its_transpose_are_torchs(height: int, width: int, size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(70, 3, height, width, generator=generator)
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    pooled, expected = average_pool(ours, size), F.avg_pool2d(theirs, size)
    torch.testing.assert_close(pooled, expected)
    gradient = torch.randn(expected.shape, generator=generator)
    pooled.backward(gradient)
    expected.backward(gradient)
    assert ours.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad)
    assert torch.equal(spread(gradient, size, x.shape), ours.grad)


def test_memory_of_a_tensor_is_used_again_but_not_while_a_view_lives() -> None:
    shape = (1 << 20,)
    view = empty_tensor(shape).fill_(1)[5:]
    other = empty_tensor(shape).fill_(2)
    address = other.data_ptr()
    assert (view == 1).all()
    del other
    assert address in [tensor.data_ptr() for tensor in [empty_tensor(shape) for _ in range(3)]]
    assert (view == 1).all()
