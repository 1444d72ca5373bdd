"""1-Lipschitz for every weight, by pairs and by Jacobians; and a trained critic below the exact distance."""

import pytest
import torch

from course_lib.metrics import lipschitz_dual, wasserstein1
from course_lib.nn import LipschitzMLP
from course_lib.nn.lipschitz import MaxMin


def network(sizes, seed=0, steps=0):
    """A network in float64 that some steps of a wild optimiser have pushed about."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = LipschitzMLP(
            sizes
        ).double()  # its start was orthogonalised in float32: hence tolerances of 1e-6
        optimizer = torch.optim.SGD(net.parameters(), lr=10.0)
        for _ in range(steps):
            optimizer.zero_grad()
            net(torch.randn(32, sizes[0], dtype=torch.float64)).sin().sum().backward()
            optimizer.step()
    return net


@pytest.mark.parametrize("steps", [0, 5])
@pytest.mark.parametrize("sizes", [(2, 64, 64, 1), (5, 32, 8, 16, 3), (30, 8, 1), (4, 1)])
def test_no_pair_and_no_jacobian_exceeds_one(sizes, steps):
    net = network(sizes, steps=steps)
    generator = torch.Generator().manual_seed(1)
    x = 3 * torch.randn(500, sizes[0], generator=generator, dtype=torch.float64)
    near = x + 1e-3 * torch.randn(x.shape, generator=generator, dtype=torch.float64)
    for y in (x.flip(0), near):
        assert ((net(x) - net(y)).norm(dim=1) <= (1 + 1e-6) * (x - y).norm(dim=1)).all()
    out = net(x.requires_grad_())
    rows = [torch.autograd.grad(part.sum(), x, retain_graph=True)[0] for part in out.T]
    norms = torch.linalg.matrix_norm(torch.stack(rows, 1), ord=2)
    assert (norms < 1 + 1e-6).all()


def test_gradient_norm_is_one_everywhere_if_hidden_layers_are_as_wide_as_the_input():
    net = network((2, 2, 2, 1))
    x = torch.randn(
        100, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True
    )
    (gradient,) = torch.autograd.grad(net(x).sum(), x)
    torch.testing.assert_close(gradient.norm(dim=1), torch.ones(100).double(), rtol=0, atol=1e-6)


def test_maxmin_sorts_pairs():
    x = torch.tensor([[3.0, 1.0, -2.0, 5.0]])
    assert MaxMin()(x).tolist() == [[1.0, 3.0, -2.0, 5.0]]


@pytest.mark.equation("distances-kr")
def test_trained_critic_comes_up_to_the_exact_distance_from_below():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(100, 2, generator=generator)
    y = 0.6 * torch.randn(100, 2, generator=generator) + torch.tensor([1.5, 0.0])
    exact = wasserstein1(x, y)
    torch.testing.assert_close(lipschitz_dual(x, y)[0], exact, rtol=1e-5, atol=0)
    net = network((2, 32, 32, 1)).float()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    values = []
    for _ in range(100):
        gap = net(x).mean() - net(y).mean()
        optimizer.zero_grad()
        (-gap).backward()
        optimizer.step()
        values.append(gap.item())
    assert max(values) <= exact * (1 + 1e-5)
    assert values[-1] > 0.95 * exact
    assert values[0] < 0.5 * exact


def test_every_parameter_learns_and_the_state_returns():
    net = network((3, 16, 16, 1))
    x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    net(x).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in net.parameters())
    other = network((3, 16, 16, 1), seed=1)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x), net(x))


def test_wrong_widths_are_named():
    for sizes in ((2,), (2, 5, 1)):
        with pytest.raises(ValueError, match="even hidden widths"):
            LipschitzMLP(sizes)
    with pytest.raises(RuntimeError):
        LipschitzMLP((2, 4, 1))(torch.zeros(1, 3))
