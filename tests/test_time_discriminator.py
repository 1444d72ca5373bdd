"""The discriminators of one denoising step: counts, what each input does, second derivatives."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_lib.nn import PointDiscriminator, TimeDiscriminator
from course_lib.nn.mlp import sinusoidal_embedding
from course_lib.nn.time_discriminator import DDGAN_CIFAR10, TimeBlock
from course_lib.nn.unet import fir_down

SMALL = {"channels": 2, "size": 8, "width": 8, "multipliers": (1, 2), "time_dim": 12}


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def randomised(module, seed=0):
    """The module with every weight drawn, so that no zero of the start hides a path."""
    for parameter in module.parameters():
        fan_in = parameter[0].numel() if parameter.ndim > 1 else 4
        parameter.data = draw(*parameter.shape, seed=seed) / math.sqrt(fan_in)
        seed += 1
    return module


def count(**config):
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in TimeDiscriminator(**config).parameters())


def inputs(dtype=torch.float32, batch=8):
    x_prev, x_t = (draw(batch, 2, 8, 8, seed=seed, dtype=dtype) for seed in (1, 2))
    return x_prev, x_t, torch.arange(batch) % 4


def both():
    """Each discriminator with inputs of its kind."""
    points = (draw(8, 3, seed=1), draw(8, 3, seed=2), torch.arange(8) % 4)
    return [
        (randomised(TimeDiscriminator(**SMALL)), inputs()),
        (randomised(PointDiscriminator(3, 16)), points),
    ]


def test_account_of_the_released_discriminators_weights():
    released = count(**DDGAN_CIFAR10)
    assert released == 12_741_633  # 12.7 million
    table = count(
        **{**DDGAN_CIFAR10, "multipliers": (1, 2, 4, 4, 4)}
    )  # the five blocks that table 6.7 prints
    block = (
        2 * (9 * 512 * 512 + 512) + 512 * 512 + (256 + 1) * 512
    )  # two convolutions, the shortcut, the time
    assert table - released == block == 5_113_344
    assert count() == 478_465


def test_block_by_its_parts():
    block = randomised(TimeBlock(3, 5, 4, down=True, fir=True))
    x, embedding = draw(2, 3, 8, 8), draw(2, 4, seed=1)
    leaky = nn.LeakyReLU(0.2)
    h = leaky(block.conv1(leaky(x)) + block.time(embedding).view(2, 5, 1, 1))
    expected = (block.conv2(fir_down(h)) + block.shortcut(fir_down(x))) / 2**0.5
    torch.testing.assert_close(block(x, embedding), expected)
    block = randomised(TimeBlock(3, 5, 4, down=True, fir=False))
    nn.init.zeros_(block.conv2.weight)
    nn.init.zeros_(block.conv2.bias)
    expected = F.conv2d(F.avg_pool2d(x, 2), block.shortcut.weight) / 2**0.5
    torch.testing.assert_close(block(x, embedding), expected)


def test_logits_see_the_spread_of_the_minibatch():
    net = randomised(TimeDiscriminator(**SMALL))
    x_prev, x_t, t = inputs()
    alone = net(x_prev[:1], x_t[:1], t[:1])
    copies = net(x_prev[:1].expand(4, -1, -1, -1), x_t[:1].expand(4, -1, -1, -1), t[:1].expand(4))
    torch.testing.assert_close(copies, alone.expand(4))  # four copies spread as little as one image does
    varied = net(x_prev[:4], x_t[:4], t[:4])
    assert (varied[0] - alone).abs() > 1e-3


def test_learns_soon_to_tell_a_texture_from_noise_of_the_same_mean_and_power():
    """A checkerboard of random sign under noise, against noise alone: no linear function of the image can tell."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = TimeDiscriminator(**SMALL)
    board = (-1.0) ** torch.arange(8).add(torch.arange(8)[:, None])
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    right = []
    for step in range(120):
        sign = draw(16, 1, 1, 1, seed=3 * step).sign()
        real = 0.8 * sign * board + 0.6 * draw(16, 2, 8, 8, seed=3 * step + 1)
        fake, x_t = draw(2, 16, 2, 8, 8, seed=3 * step + 2)
        t = torch.zeros(16, dtype=torch.int64)
        on_real, on_fake = net(real, x_t, t), net(fake, x_t, t)
        right.append(((on_real > 0).float().mean() + (on_fake < 0).float().mean()).item() / 2)
        loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert sum(right[-20:]) / 20 > 0.9


@pytest.mark.parametrize("case", [0, 1])
def test_every_input_and_every_weight_counts(case):
    net, (x_prev, x_t, t) = both()[case]
    logits = net(x_prev, x_t, t)
    assert logits.shape == (8,)
    logits.square().mean().backward()
    silent = [name for name, parameter in net.named_parameters() if not parameter.grad.any()]
    assert silent == []
    with torch.no_grad():
        for other in ((x_t, x_prev, t), (-x_prev, x_t, t), (x_prev, -x_t, t), (x_prev, x_t, t + 1)):
            assert (net(*other) - logits).abs().mean() > 1e-3


def test_point_discriminator_is_an_mlp_of_all_it_is_told():
    net, (x_prev, x_t, t) = both()[1]
    h = torch.cat([x_prev, x_t, sinusoidal_embedding(t, 64)], 1)
    linear = [layer for layer in net.layers if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in linear] == [16, 16, 16, 1]
    for layer in linear[:-1]:
        h = F.leaky_relu(h @ layer.weight.T + layer.bias, 0.2)
    expected = (h @ linear[-1].weight.T + linear[-1].bias)[:, 0]
    torch.testing.assert_close(net(x_prev, x_t, t), expected)


@pytest.mark.parametrize("fir", [True, False])
def test_penalty_of_the_gradient_has_the_right_gradient(fir):
    """R1 differentiates twice: its directional derivative against a central difference, in float64."""
    net = randomised(TimeDiscriminator(**SMALL, fir=fir)).double()
    x_prev, x_t, t = inputs(torch.float64, batch=4)
    parameters = list(net.parameters())
    directions = [draw(*parameter.shape, seed=9, dtype=torch.float64) for parameter in parameters]

    def penalty():
        x = x_prev.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(net(x, x_t, t).sum(), x, create_graph=True)
        return gradient.square().sum() / 4

    gradients = torch.autograd.grad(
        penalty(), parameters, allow_unused=True
    )  # the last bias has no part in it
    slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True) if g is not None)
    values, step = [], 1e-6
    for sign in (1, -2):  # forward by one step, back by two
        for parameter, direction in zip(parameters, directions, strict=True):
            parameter.data += sign * step * direction
        values.append(penalty().item())
    # rounding 1e-16 / step against curvature step^2; a leaky ReLU's kink within the step would show as 1e-3
    assert slope.item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


@pytest.mark.parametrize("case", [0, 1])
def test_compiles_without_a_graph_break_and_runs_in_bfloat16(case):
    net, args = both()[case]
    logits = net(*args)
    torch.testing.assert_close(torch.compile(net, backend="eager", fullgraph=True)(*args), logits)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        half = net(*args)
    assert (
        half - logits
    ).abs().max() < 0.02 * logits.abs().max()  # 0.4 % a layer, the last one rounds the logit


def test_autocast_returns_float32():
    net, args = both()[0]
    with torch.autocast("cpu", torch.bfloat16):
        assert net(*args).dtype == torch.float32


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="must halve 3 times"):
        TimeDiscriminator(size=28, multipliers=(1, 2, 4, 4))
    with pytest.raises(ValueError, match="even dimension"):
        TimeDiscriminator(**{**SMALL, "time_dim": 7})(*inputs())
    for net, (x_prev, x_t, t) in both():
        with pytest.raises(ValueError, match="must both have shape"):
            net(x_prev[:4], x_t, t)
        with pytest.raises(ValueError, match="must both have shape"):
            net(x_prev[:, :1], x_t[:, :1], t)
        with pytest.raises(ValueError, match="one entry a sample"):
            net(x_prev, x_t, t[:4])
