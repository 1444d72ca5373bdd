"""Adversarial games against quadrature, finite differences and matrices; the model's contract."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from course_lib import checkpoints, models
from course_lib.data import toy2d
from course_lib.metrics import F_DIVERGENCES
from course_lib.models.gan import GAN, OBJECTIVES, build, discriminator_loss, generator_loss, latent_circle
from course_lib.nn import DCGANGenerator
from course_lib.training import DivergenceError, Recipe, fit
from course_lib.training.experiments import gan_fgan, gan_gradients, gan_modes, gan_stacked

GRID = torch.linspace(-14, 14, 20_001, dtype=torch.float64)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=rng(seed), dtype=dtype)


def seeded(seed=0, **config):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build(**config)


def normal(x, mean=0.0, std=1.0):
    return torch.distributions.Normal(mean, std).log_prob(x)


def quantiles(n=100_001):
    """Points whose mean of any smooth function is its mean under N(0, 1)."""
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return math.sqrt(2) * torch.erfinv(2 * u - 1)


def integral(values):
    return torch.trapezoid(values, GRID)


def jsd(log_p, log_q):
    return F_DIVERGENCES["jensen_shannon"].quadrature(log_p, log_q, GRID)


# --- the value of the game -------------------------------------------------------------------------------------------


@pytest.mark.equation("gan-optimal", "gan-value-jsd", "gan-gap")
@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (1.5, 1.0), (0.5, 2.0), (6.0, 0.5)])
def test_value_at_the_best_discriminator_is_the_jsd_and_any_other_falls_short_by_a_known_gap(mean, std):
    log_p, log_q = normal(GRID), normal(GRID, mean, std)
    p, q = log_p.exp(), log_q.exp()
    best = log_p - log_q

    def value(logit):
        return integral(p * F.logsigmoid(logit) + q * F.logsigmoid(-logit))

    assert value(best).item() == pytest.approx(2 * jsd(log_p, log_q).item() - 2 * math.log(2), abs=1e-8)
    for other in (torch.zeros_like(best), 0.7 * best, best + GRID.sin()):
        d_star = best.sigmoid()
        kl = torch.special.xlogy(d_star, d_star) - d_star * F.logsigmoid(other)
        kl = kl + torch.special.xlogy(1 - d_star, 1 - d_star) - (1 - d_star) * F.logsigmoid(-other)
        gap = integral((p + q) * kl)
        assert gap.item() >= -1e-12
        assert (value(best) - value(other)).item() == pytest.approx(gap.item(), abs=1e-7)


@pytest.mark.equation("gan-value")
def test_discriminator_loss_is_minus_the_value_on_samples():
    z = quantiles()
    x, y = z, 0.5 + 2 * z

    def logit(x):
        return 0.3 * x - 0.1 * x**2

    p, q = normal(GRID).exp(), normal(GRID, 0.5, 2.0).exp()
    value = integral(p * F.logsigmoid(logit(GRID)) + q * F.logsigmoid(-logit(GRID)))
    assert discriminator_loss(logit(x), logit(y)).item() == pytest.approx(-value.item(), abs=1e-4)


def test_discriminator_loss_is_twice_the_mean_cross_entropy():
    real, fake = draw(9), draw(9, seed=1)
    labels = torch.cat([torch.ones(9), torch.zeros(9)])
    expected = 2 * F.binary_cross_entropy_with_logits(torch.cat([real, fake]), labels)
    for objective in ("saturating", "non_saturating"):
        torch.testing.assert_close(discriminator_loss(real, fake, objective), expected)
    torch.testing.assert_close(discriminator_loss(real, fake, "gan"), expected)


@pytest.mark.equation("gan-oracle-logit")
@pytest.mark.parametrize("std", [1.0, 0.6])
def test_learned_discriminator_finds_the_exact_logit_between_two_gaussians(std):
    """Root mean square error of the logit below 0.15 where |v*| < 4; further out one of the laws sends no points."""
    mean = torch.tensor([1.2, 0.0])
    discriminator = seeded(image_shape=None, dim=2, width=64).discriminator
    steps = 1_500
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=4e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    noise = rng()
    for _ in range(steps):
        x = torch.randn(512, 2, generator=noise)
        y = mean + std * torch.randn(512, 2, generator=noise)
        loss = discriminator_loss(discriminator(x), discriminator(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    points = torch.cat([draw(2_000, 2, seed=7), mean + std * draw(2_000, 2, seed=8)])
    # v* = log N(x; 0, I) - log N(x; m, s^2 I): affine for s = 1, quadratic otherwise
    exact = 2 * math.log(std) + ((points - mean).square().sum(1) / std**2 - points.square().sum(1)) / 2
    seen = exact.abs() < 4
    with torch.no_grad():
        error = (discriminator(points) - exact)[seen]
    assert seen.float().mean() > 0.7
    assert exact[seen].std() > 1
    assert error.square().mean().sqrt() < 0.15
    if std == 1:
        torch.testing.assert_close(exact, mean.square().sum() / 2 - points @ mean)


# --- what the generator descends -------------------------------------------------------------------------------------


@pytest.mark.equation("gan-saturating", "gan-non-saturating", "gan-logit-slopes")
def test_slopes_of_both_losses_in_the_logit():
    logits = torch.linspace(-20, 20, 41, dtype=torch.float64).requires_grad_()
    for objective, slope, value in (
        ("saturating", -logits.sigmoid(), (1 - logits.sigmoid()).log()),
        ("non_saturating", logits.sigmoid() - 1, -logits.sigmoid().log()),
        ("gan", -logits.sigmoid(), (1 - logits.sigmoid()).log()),
    ):
        loss = generator_loss(logits, objective)
        (gradient,) = torch.autograd.grad(loss, logits)
        torch.testing.assert_close(gradient * len(logits), slope, rtol=1e-6, atol=0)
        assert loss.item() == pytest.approx(value.mean().item(), rel=1e-6)


@pytest.mark.equation("gan-divergence-descent", "gan-softened")
@pytest.mark.parametrize("shift", [0.3, 1.0, 2.5])
def test_at_the_best_discriminator_each_loss_descends_its_divergence(shift):
    """q = N(shift, 1), p = N(0, 1): the gradient in the shift through the samples, against that of the divergence."""
    theta = torch.tensor(shift, dtype=torch.float64, requires_grad=True)
    log_p, log_q = normal(GRID), normal(GRID, theta)
    middle = (log_p.exp() + log_q.exp()) / 2
    softened = 2 * integral(middle * (middle.log() - log_p))
    kl = theta**2 / 2
    torch.testing.assert_close(softened, kl - 2 * jsd(log_p, log_q), rtol=1e-6, atol=1e-9)
    exact = {"saturating": 2 * jsd(log_p, log_q), "non_saturating": softened}
    for objective, divergence in exact.items():
        (expected,) = torch.autograd.grad(divergence, theta, retain_graph=True)
        samples = theta + quantiles()
        logits = shift**2 / 2 - shift * samples  # v* at the present shift, held fixed
        (gradient,) = torch.autograd.grad(generator_loss(logits, objective), theta)
        assert gradient.item() == pytest.approx(expected.item(), rel=1e-3)


@pytest.mark.equation("gan-fgan")
@pytest.mark.parametrize("name", [n for n in F_DIVERGENCES])
def test_f_gan_bound_is_the_divergence_at_the_best_critic_and_below_it_elsewhere(name):
    divergence = F_DIVERGENCES[name]
    z = quantiles()
    x, y = z, 0.6 + z  # p = N(0, 1), q = N(0.6, 1)
    exact = divergence.quadrature(normal(GRID), normal(GRID, 0.6), GRID).item()

    def best_logit(points):
        """v with activation(v) = f'(p/q), by bisection: the activation increases."""
        target = divergence.optimal_critic((0.18 - 0.6 * points).exp())
        low, high = torch.full_like(points, -60.0), torch.full_like(points, 60.0)
        for _ in range(60):
            middle = (low + high) / 2
            below = divergence.activation(middle) < target
            low, high = torch.where(below, middle, low), torch.where(below, high, middle)
        return (low + high) / 2

    def bound(change):
        return -discriminator_loss(best_logit(x) + change(x), best_logit(y) + change(y), name).item()

    assert bound(torch.zeros_like) == pytest.approx(exact, abs=2e-4)
    # total variation's best critic is a step, reached at infinite logits: shift the step
    nudge = (lambda t: 40 * t.sin()) if name == "total_variation" else (lambda t: 0.3 * t.sin())
    assert bound(nudge) < exact - 1e-4


def test_f_gan_generator_loss_is_the_part_of_the_bound_that_it_moves():
    real, fake = draw(7), draw(7, seed=1)
    for name, divergence in F_DIVERGENCES.items():
        bound = divergence.activation(real).mean() + generator_loss(fake, name)
        torch.testing.assert_close(discriminator_loss(real, fake, name), -bound)


# --- games that turn in circles --------------------------------------------------------------------------------------


def play(a, b, steps, step_size, unroll=0, alternate=False):
    """min over a, max over b of a b, by autograd."""
    path = [(a, b)]
    for _ in range(steps):
        x, y = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (a, b))
        answer = y
        for _ in range(unroll):
            (slope,) = torch.autograd.grad(x * answer, answer, create_graph=True)
            answer = answer + step_size * slope
        (to_a,) = torch.autograd.grad(x * answer, x)
        new_a = a - step_size * to_a.item()
        b = b + step_size * (new_a if alternate else a)
        a = new_a
        path.append((a, b))
    return torch.tensor(path, dtype=torch.float64)


@pytest.mark.equation("gan-bilinear", "gan-simultaneous", "gan-alternating", "gan-bilinear-unrolled")
def test_bilinear_game_spirals_out_circles_or_closes_in():
    h = 0.2
    t = torch.arange(101, dtype=torch.float64)
    out = play(1.0, 0.5, 100, h)
    torch.testing.assert_close(out.square().sum(1), 1.25 * (1 + h**2) ** t)
    around = play(1.0, 0.5, 100, h, alternate=True)
    a, b = around.T
    torch.testing.assert_close(a**2 + b**2 - h * a * b, torch.full_like(t, 1.25 - 0.5 * h))
    for unroll in (1, 5):
        inward = play(1.0, 0.5, 300, h, unroll=unroll)
        matrix = torch.tensor([[1 - 2 * unroll * h**2, -h], [h, 1.0]], dtype=torch.float64)
        torch.testing.assert_close(inward[1], matrix @ inward[0])
        assert torch.linalg.eigvals(matrix).abs().max() < 1
        assert inward[-1].norm() < 0.1


@pytest.mark.equation("gan-unrolled")
@pytest.mark.parametrize("objective", ["non_saturating", "saturating", "pearson"])
def test_unrolled_gradient_is_that_of_brute_force_finite_differences(objective):
    """The whole look-ahead as a function of one generator weight, by central differences, without any graph."""
    model = seeded(
        image_shape=None, dim=2, latent_dim=2, width=5, depth=1, objective=objective, unroll=3, unroll_lr=0.3
    ).double()
    for module in model.modules():  # smooth, or a difference may straddle a kink
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.Softplus())
    x, z = draw(6, 2, dtype=torch.float64), draw(6, 2, seed=1, dtype=torch.float64)
    weight = model.generator[0].weight

    def look_ahead():
        fake = model.generator(z).detach()
        judge = GAN(
            model.generator,
            seeded(image_shape=None, width=5, depth=1).double().discriminator,
            2,
            images=False,
        )
        for module in judge.discriminator.modules():
            for name, child in module.named_children():
                if isinstance(child, nn.ReLU):
                    setattr(module, name, nn.Softplus())
        judge.discriminator.load_state_dict(model.discriminator.state_dict())
        optimizer = torch.optim.SGD(judge.discriminator.parameters(), lr=0.3)
        for _ in range(3):
            optimizer.zero_grad()
            discriminator_loss(judge.discriminator(x), judge.discriminator(fake), objective).backward()
            optimizer.step()
        return generator_loss(judge.discriminator(fake), objective).item()

    loss = generator_loss(model._unrolled(x, fake := model.generator(z))(fake), objective)
    (gradient,) = torch.autograd.grad(loss, weight)
    assert loss.item() == pytest.approx(look_ahead(), rel=1e-9)
    for index in ((0, 0), (3, 1)):
        step = 1e-5
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[index] += sign * step
            values.append(look_ahead())
            with torch.no_grad():
                weight[index] -= sign * step
        assert gradient[index].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)


# --- transposed convolutions -----------------------------------------------------------------------------------------


def matrix_of(layer, size):
    """The matrix of a linear map of images, column by column from unit images."""
    units = torch.eye(size**2, dtype=torch.float64).view(-1, 1, size, size)
    return layer(units).flatten(1).T


@pytest.mark.equation("gan-convolution-size", "gan-transposed-size", "gan-transpose")
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 2, 1), (4, 2, 1), (3, 1, 0), (5, 3, 2), (2, 2, 0)]
)
def test_transposed_convolution_is_the_transpose_of_the_convolution_matrix(kernel, stride, padding):
    weight = draw(1, 1, kernel, kernel, dtype=torch.float64)
    options = {"stride": stride, "padding": padding}
    for small in (3, 4, 7):
        large = (small - 1) * stride - 2 * padding + kernel
        down = matrix_of(lambda x: F.conv2d(x, weight, **options), large)
        up = matrix_of(lambda y: F.conv_transpose2d(y, weight, **options), small)
        assert down.shape == (
            small**2,
            large**2,
        )  # both sizes: the convolution brings `large` back to `small`
        torch.testing.assert_close(up, down.T)
        # the same by a plain convolution: zeros between the pixels, a border, the kernel turned round
        spread = torch.zeros(1, 1, (small - 1) * stride + 1, (small - 1) * stride + 1, dtype=torch.float64)
        y = draw(1, 1, small, small, seed=1, dtype=torch.float64)
        spread[..., ::stride, ::stride] = y
        plain = F.conv2d(spread, weight.flip(2, 3), padding=kernel - 1)
        plain = plain[..., padding : padding + large, padding : padding + large]
        torch.testing.assert_close(F.conv_transpose2d(y, weight, **options), plain)


def test_dcgan_layers_have_the_sides_of_the_formula():
    network = DCGANGenerator(8, 1, 28, width=4).eval()
    x, sides = torch.zeros(1, 8), []
    for layer in network.layers:
        x = layer(x)
        if isinstance(layer, nn.ConvTranspose2d):
            sides.append(x.shape[-1])
    assert sides == [14, 28] == [(7 - 1) * 2 - 2 + 4, (14 - 1) * 2 - 2 + 4]


# --- the model's contract --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 64, 64)])
@pytest.mark.parametrize("norm", ["batch", "layer", "spectral", "none"])
def test_shapes_and_gradients_reach_every_parameter(shape, norm):
    model = seeded(image_shape=shape, width=8, latent_dim=5, norm=norm)
    x = torch.rand(6, *shape, generator=rng())
    groups = {name: list(parameters) for name, parameters in model.parameter_groups().items()}
    assert sum(map(len, groups.values())) == len(list(model.parameters()))
    seen = []
    for group, loss in model.training_step(x, generator=rng(1)):
        gradients = torch.autograd.grad(loss, groups[group], allow_unused=True)
        # a bias in front of a batch norm is taken away again with the mean: its gradient is rounding
        assert all(g is not None and g.isfinite().all() for g in gradients), group
        assert all(g.abs().max() > 0 for g in gradients), group
        seen.append(group)
    assert seen == ["discriminator", "generator"]
    assert model.sample(3, generator=rng()).shape == (3, *shape)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("unroll", [0, 2])
def test_every_objective_trains_on_points(objective, unroll):
    model = seeded(image_shape=None, latent_dim=3, width=16, objective=objective, unroll=unroll)
    plan = Recipe("gan", "ring8", "smoke", steps=10, batch_size=32, lr=1e-3)
    before = [p.clone() for p in model.parameters()]
    run = fit(model, draw(100, 2), plan, progress=False)
    assert all((a != b).any() for a, b in zip(before, model.parameters(), strict=True))
    assert set(run.losses) == {"discriminator", "generator"}
    accuracy = run.monitors["discriminator_accuracy"]
    assert accuracy.shape == (10,)
    assert ((accuracy >= 0) & (accuracy <= 1)).all()


def test_game_moves_the_generator_to_the_data():
    model = seeded(image_shape=None, latent_dim=2, width=32)
    data = torch.tensor([2.0, -1.0]) + 0.5 * draw(5_000, 2)
    plan = Recipe("gan", "points", "smoke", 600, 128, lr=2e-3, optimizer_options={"betas": [0.5, 0.99]})
    far = (model.sample(2_000, generator=rng(1)).mean(0) - data.mean(0)).norm()
    near = (
        fit(model, data, plan, progress=False).model.sample(2_000, generator=rng(1)).mean(0) - data.mean(0)
    ).norm()
    assert far > 2
    assert near < 0.3


def test_generator_alone_decides_the_noise():
    model = seeded(width=8).eval()
    state = torch.random.get_rng_state()
    first, second = (model.sample(4, generator=rng(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, model.sample(4, generator=rng(6)))
    assert torch.equal(first, model.decode(model.noise(4, rng(5))).detach())
    losses = [[loss.item() for _, loss in model.training_step(first, generator=rng(2))] for _ in range(2)]
    assert losses[0] == losses[1]
    assert torch.equal(state, torch.random.get_rng_state())
    assert first.shape == (4, 1, 28, 28)
    assert 0 <= first.min() <= first.max() <= 1


def test_checkpoint_round_trip(tmp_path):
    config = {"width": 8, "latent_dim": 4}
    model = seeded(**config).eval()
    checkpoints.save(tmp_path / "toy.safetensors", model.state_dict(), {"family": "gan", "model": config})
    loaded = models.load("toy", tmp_path)
    torch.testing.assert_close(
        loaded.sample(4, generator=rng()), model.sample(4, generator=rng()), rtol=0, atol=2e-3
    )


@pytest.mark.equation("gan-sampler")
def test_samples_are_the_generator_s_image_of_standard_noise():
    model = GAN(nn.Linear(2, 2), nn.Linear(2, 1), 2, images=False)
    with torch.no_grad():
        model.generator.weight.copy_(torch.tensor([[2.0, 0.0], [1.0, 0.5]]))
        model.generator.bias.copy_(torch.tensor([3.0, -1.0]))
    x = model.sample(200_000, generator=rng())
    torch.testing.assert_close(x.mean(0), torch.tensor([3.0, -1.0]), rtol=0, atol=0.03)
    torch.testing.assert_close(torch.cov(x.T), torch.tensor([[4.0, 2.0], [2.0, 1.25]]), rtol=0, atol=0.06)


@pytest.mark.equation("gan-circle")
def test_codes_on_the_circle_keep_the_law():
    start, end = draw(2, 100_000)
    turns = torch.tensor([0.0, 0.1, 0.25, 0.7])
    codes = latent_circle(start, end, turns)
    assert codes.shape == (4, 100_000)
    torch.testing.assert_close(codes[0], start)
    torch.testing.assert_close(codes[2], end, rtol=0, atol=1e-5)
    torch.testing.assert_close(codes.mean(1), torch.zeros(4), rtol=0, atol=0.02)
    torch.testing.assert_close(codes.std(1), torch.ones(4), rtol=0, atol=0.01)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(4, 1, 28, 28, dtype=torch.uint8), "expected float data"),
        (torch.zeros(4, 28, 28), r"expected float data \(B, C, H, W\)"),
        (torch.full((4, 1, 28, 28), 2.0), "must lie in"),
        (torch.full((4, 1, 28, 28), -1.0), "must lie in"),
    ],
)
def test_wrong_images_are_named(x, message):
    with pytest.raises(ValueError, match=message):
        next(seeded(width=8).training_step(x))


def test_wrong_configurations_are_named():
    with pytest.raises(ValueError, match="expected one of non_saturating, saturating, kl"):
        models.build("gan", objective="hope")
    with pytest.raises(ValueError, match="4 or 7 times a power of two"):
        models.build("gan", image_shape=(1, 30, 30))
    with pytest.raises(ValueError, match="norm='instance'"):
        models.build("gan", norm="instance")
    with pytest.raises(ValueError, match="cannot be built with"):
        models.build("gan", hidden=3)
    with pytest.raises(ValueError, match=r"expected float data \(B, dim\)"):
        next(seeded(image_shape=None).training_step(torch.zeros(4, 1, 2)))


@pytest.mark.parametrize(
    ("accuracy", "cause"),
    [(0.99, "discriminator has won"), (0.5, "discriminator has lost"), (0.8, "game itself")],
)
def test_likely_cause_is_read_off_the_discriminator(accuracy, cause):
    assert cause in seeded(width=8).likely_cause({"discriminator_accuracy": accuracy})


def test_a_diverging_run_stops_with_its_cause():
    model = seeded(image_shape=None, latent_dim=2, width=32)
    plan = Recipe("gan", "ring8", "smoke", steps=2_000, batch_size=64, optimizer="sgd", lr=1e3)
    with pytest.raises(DivergenceError, match=r"discriminator|game"):
        fit(model, draw(500, 2), plan, progress=False)


@pytest.mark.parametrize("part", ["generator", "discriminator"])
def test_networks_compile_in_one_piece(part):
    model = seeded(width=8)
    network = torch.compile(getattr(model, part), fullgraph=True, backend="eager")
    x = draw(4, 64) if part == "generator" else draw(4, 1, 28, 28)
    torch.testing.assert_close(network(x), getattr(model, part)(x))


def test_bfloat16_networks_leave_the_losses_in_float32():
    model = seeded(width=8)
    with torch.autocast("cpu", torch.bfloat16):
        losses = [
            loss
            for _, loss in model.training_step(torch.rand(8, 1, 28, 28, generator=rng()), generator=rng(1))
        ]
    assert all(loss.dtype == torch.float32 for loss in losses)


# --- the recorded experiments ----------------------------------------------------------------------------------------


def test_score_counts_planted_modes():
    modes = toy2d.grid25.modes
    near = modes[:7] + 2.9 * toy2d.grid25.std * torch.tensor([1.0, 0.0])
    far = modes + 3.1 * toy2d.grid25.std * torch.tensor([0.0, 1.0])
    assert gan_modes.score(torch.cat([near, far])) == (7, pytest.approx(7 / 32))
    assert gan_modes.score(far) == (0, 0.0)
    found, good = gan_modes.score(toy2d.grid25(20_000, rng()))
    assert found == 25
    assert good == pytest.approx(1 - math.exp(-4.5), abs=4 * 0.0008)


def test_exact_minimisers_are_those_of_closed_forms():
    """Minimising KL(p || q) over Gaussians matches the moments; 2 KL(m || p) is 0 for q = p only."""
    target = gan_fgan.TARGET
    mean = (target.weights * target.means).sum()
    var = (target.weights * (target.stds**2 + target.means**2)).sum() - mean**2
    assert gan_fgan.exact("kl") == pytest.approx([mean.item(), var.sqrt().item()], abs=1e-3)
    for name in ("non_saturating", "reverse_kl"):
        best = gan_fgan.exact(name)
        value = gan_fgan.divergence(name, *best)
        assert value > 0
        assert all(
            value < gan_fgan.divergence(name, best[0] + a, best[1] + b)
            for a, b in ((0.05, 0), (0, 0.05), (-0.05, 0))
        )


def test_gradient_rows_average_to_the_gradient_of_all_noise():
    model = seeded(image_shape=None, latent_dim=2, width=8)
    noise = draw(3, 5, 2)
    rows = gan_gradients.gradients(model, noise, "saturating")
    loss = generator_loss(model.discriminator(model.generator(noise.flatten(0, 1))), "saturating")
    whole = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.generator.parameters()))])
    torch.testing.assert_close(rows.mean(0), whole)


@pytest.mark.slow
@pytest.mark.parametrize("experiment", [gan_modes, gan_stacked])
def test_experiments_that_the_chapter_only_shows_run_in_smoke(experiment):
    arrays = experiment.run("smoke")
    assert all(torch.isfinite(torch.as_tensor(v)).all() for v in arrays.values() if v.dtype.kind == "f")
