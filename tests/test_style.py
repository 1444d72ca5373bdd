"""StyleGAN's pieces against closed forms: statistics after AdaIN, truncated Gaussians, slopes, and a two-number GAN."""

import math

import pytest
import torch
from torch import nn

from course_lib import checkpoints, models
from course_lib.data import dataset
from course_lib.metrics import frechet_distance
from course_lib.models.conditional_gan import truncated_noise
from course_lib.models.gan import discriminator_loss, generator_loss
from course_lib.models.style import r1_penalty
from course_lib.nn.style import (
    AdaIN,
    EqualizedConv,
    EqualizedLinear,
    Leaky,
    MappingNetwork,
    StyleDiscriminator,
    StyleGenerator,
    minibatch_deviation,
)
from course_lib.training import DivergenceError, Recipe, build, fit, recipe, save_run
from course_lib.training.experiments import style_grid, style_l1, style_labels


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=rng(seed), dtype=dtype)


def seeded(make, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def small(**options):
    return seeded(lambda: models.build("style", width=4, latent_dim=8, style_dim=8, **options))


# --- AdaIN and its surroundings ------------------------------------------------------------------------------------------


@pytest.mark.equation("style-adain", "style-adain-invariance")
def test_adain_sets_mean_and_deviation_and_forgets_the_old_ones():
    layer = seeded(lambda: AdaIN(5, 7)).double()
    maps, w = draw(3, 5, 12, 12).cumsum(-1), draw(3, 7, seed=1)
    out = layer(maps, w)
    mu, sigma = layer.affine(w).chunk(2, 1)
    torch.testing.assert_close(out.mean((2, 3)), mu)
    torch.testing.assert_close(out.var((2, 3), correction=0).sqrt(), (1 + sigma).abs(), rtol=1e-6, atol=1e-6)
    scale, shift = draw(3, 5, 1, 1, seed=2).exp(), draw(3, 5, 1, 1, seed=3)
    torch.testing.assert_close(layer(scale * maps + shift, w), out, rtol=1e-6, atol=1e-6)


@pytest.mark.equation("style-equalized")
@pytest.mark.parametrize("width", [5, 300])
def test_equalised_layers_keep_the_mean_square_of_any_input(width):
    """Over the draw of the weights the outputs' mean square is the input's, and 1.04 times it after the leaky ReLU."""
    x = draw(1, width, dtype=torch.float32).exp()
    size = x.square().mean().item()
    out = seeded(lambda: EqualizedLinear(width, 40_000))(x).detach()
    assert out.square().mean().item() == pytest.approx(size, rel=0.03)
    assert Leaky()(out).square().mean().item() == pytest.approx(1.04 * size, rel=0.04)
    conv = seeded(lambda: EqualizedConv(width, 4_000))
    out = conv(x[:, :, None, None].expand(1, width, 3, 3)).detach()[..., 1, 1]
    assert out.square().mean().item() == pytest.approx(size, rel=0.1)


@pytest.mark.equation("style-equalized")
def test_equalised_gradient_step_is_the_plain_one_scaled():
    """Adam moves each stored weight by lr; the weight in use moves by lr times the scale."""
    layer = seeded(lambda: EqualizedLinear(50, 3, lr_factor=0.01))
    before = layer.weight.detach().clone() * layer.scale
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.1)
    layer(draw(4, 50, dtype=torch.float32)).square().sum().backward()
    optimiser.step()
    moved = (layer.weight.detach() * layer.scale - before).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 0.1 * 0.01 / 50**0.5), rtol=1e-3, atol=1e-7)


@pytest.mark.equation("style-mapping")
def test_mapping_reads_the_direction_of_the_code_only():
    network = seeded(lambda: MappingNetwork(8, 6, 3)).double()
    z = draw(5, 8)
    torch.testing.assert_close(network(3 * z), network(z), rtol=1e-6, atol=1e-8)
    assert network(z).shape == (5, 6)
    wide = seeded(lambda: MappingNetwork(64, 64, 4))
    assert 0.5 < wide(draw(500, 64, dtype=torch.float32)).square().mean() < 2


@pytest.mark.equation("style-synthesis")
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_synthesis_starts_from_a_constant_and_each_layer_has_its_style_and_noise(shape):
    channels, size, _ = shape
    network = seeded(lambda: StyleGenerator(8, 8, 2, channels, size, 4))
    styles = draw(2, network.n_layers, 8, dtype=torch.float32)
    maps = network.noise_maps(2, rng())
    assert [m.shape[-1] for m in maps] == network.sides
    assert network.sides[0] == network.constant.shape[-1]
    out = network(styles, maps)
    assert out.shape == (2, *shape)
    torch.testing.assert_close(network(styles, network.noise_maps(2, rng(1))), out)  # its scale starts at 0
    nn.init.constant_(network.layers[2].noise_scale, 0.1)
    assert not torch.allclose(network(styles, network.noise_maps(2, rng(1))), network(styles, maps))
    for layer in range(network.n_layers):
        other = styles.clone()
        other[:, layer] += 1
        assert not torch.allclose(network(other, maps), network(styles, maps)), layer


@pytest.mark.equation("style-minibatch-deviation")
def test_minibatch_deviation_against_a_loop():
    x = draw(8, 3, 2, 2)
    out = minibatch_deviation(x, group=4)
    assert out.shape == (8, 4, 2, 2)
    torch.testing.assert_close(out[:, :3], x)
    for first in range(2):
        members = [first + 2 * k for k in range(4)]
        expected = x[members].std(0, correction=0).mean()
        torch.testing.assert_close(out[members, 3], expected.expand(4, 2, 2))
    one = x[:1].expand(8, -1, -1, -1)
    assert minibatch_deviation(one)[:, 3].max() < 1.1e-4  # a batch of copies gives itself away
    assert minibatch_deviation(x[:6], group=4).shape == (6, 4, 2, 2)  # no multiple: one group


# --- truncation -------------------------------------------------------------------------------------------------------------


@pytest.mark.equation("style-truncation-distance", "style-truncated-law")
@pytest.mark.parametrize("psi", [0.0, 0.5, 0.9, 1.3])
def test_truncated_linear_generator_has_a_known_distance(psi):
    a = draw(6, 4)
    cov, zero = a @ a.T, torch.zeros(6).double()
    exact = (1 - psi) ** 2 * cov.trace().item()
    assert frechet_distance(zero, cov, zero, psi**2 * cov) == pytest.approx(exact, rel=1e-5, abs=1e-5)
    x = draw(100_000, 4, seed=1) @ a.T
    y = psi * draw(100_000, 4, seed=2) @ a.T
    measured = frechet_distance(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T))
    assert measured == pytest.approx(exact, rel=0.03, abs=0.005)


@pytest.mark.equation("style-truncated-normal")
@pytest.mark.parametrize("threshold", [0.3, 1.0, 2.5])
def test_truncated_noise_has_the_variance_of_the_formula(threshold):
    z = truncated_noise(200_000, 1, threshold, rng())
    assert z.abs().max() <= threshold
    peak = math.exp(-(threshold**2) / 2) / math.sqrt(2 * math.pi)
    variance = 1 - 2 * threshold * peak / math.erf(threshold / math.sqrt(2))
    assert z.var().item() == pytest.approx(variance, rel=0.01)
    grid = torch.linspace(-threshold, threshold, 20_001, dtype=torch.float64)
    density = torch.exp(-(grid**2) / 2)
    by_quadrature = torch.trapezoid(grid**2 * density, grid) / torch.trapezoid(density, grid)
    assert by_quadrature.item() == pytest.approx(variance, rel=1e-6)
    with pytest.raises(ValueError, match="must be positive"):
        truncated_noise(3, 1, 0.0)


@pytest.mark.equation("style-truncation")
def test_styles_are_pulled_towards_their_mean():
    model = small()
    z = draw(2_000, 8, dtype=torch.float32)
    full, half, none = (model.styles(z, psi)[:, 0] for psi in (1.0, 0.5, 0.0))
    centre = model.mean_style()
    torch.testing.assert_close(half, (full + centre) / 2)
    torch.testing.assert_close(none, centre.expand_as(none))
    torch.testing.assert_close(full.mean(0), centre, rtol=0, atol=0.1)
    images = model.sample(4, psi=0.0, generator=rng())
    torch.testing.assert_close(images[:1].expand_as(images), images)


@pytest.mark.equation("style-mixing")
def test_mixing_takes_each_layer_from_one_of_two_codes():
    model = small()
    first, second = (model.styles(draw(3, 8, seed=s, dtype=torch.float32)) for s in (0, 1))
    mixed = model.mix(first, second, torch.tensor([0, 2, model.generator.n_layers]))
    assert torch.equal(mixed[0], second[0])
    assert torch.equal(mixed[1, :2], first[1, :2])
    assert torch.equal(mixed[1, 2:], second[1, 2:])
    assert torch.equal(mixed[2], first[2])


# --- R1 ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.equation("style-r1", "style-r1-closed")
def test_r1_of_linear_and_quadratic_discriminators():
    weight = draw(12)
    x = draw(5, 3, 2, 2, seed=1)
    assert r1_penalty(lambda v: v.flatten(1) @ weight, x).item() == pytest.approx(
        weight.square().sum().item()
    )
    matrix = draw(4, 4, seed=2)
    matrix = matrix + matrix.T
    root, mean = draw(4, 4, seed=3), draw(4, seed=4)
    points = draw(400_000, 4, seed=5) @ root.T + mean
    measured = r1_penalty(lambda v: 0.5 * ((v @ matrix) * v).sum(1), points).item()
    exact = (matrix @ root @ root.T @ matrix).trace() + (matrix @ mean).square().sum()
    assert measured == pytest.approx(exact.item(), rel=0.02)


def test_r1_reaches_the_weights():
    network = seeded(lambda: StyleDiscriminator(1, 28, 4))
    r1_penalty(network, torch.rand(4, 1, 28, 28, generator=rng())).backward()
    weights = [
        p for p in network.parameters() if p.ndim > 1
    ]  # a bias shifts a piecewise linear map, its slope stays
    assert all(p.grad is not None and p.grad.any() for p in weights)


@pytest.mark.equation("style-lazy")
def test_lazy_r1_pays_in_one_step_what_the_full_one_pays_in_eight():
    """The mean over eight steps of the discriminator's loss less the game's is gamma / 2 R1, at fixed weights and data."""
    model = small(gamma=3.0, r1_every=8).double()
    x = torch.rand(8, 1, 28, 28, generator=rng(), dtype=torch.float64)
    terms = []
    for step in range(8):
        model.step = step
        _, with_penalty = next(model.training_step(x, generator=rng(1)))
        model.step = 1
        _, game = next(model.training_step(x, generator=rng(1)))
        terms.append((with_penalty - game).item())
    full = 1.5 * r1_penalty(model.discriminator, model.inward(x)).item()
    assert sum(term != 0 for term in terms) == 1
    assert sum(terms) / 8 == pytest.approx(full, rel=1e-9)


@pytest.mark.equation("style-dirac", "style-dirac-eigenvalues")
@pytest.mark.parametrize("gamma", [0.0, 0.4, 1.0, 3.0])
def test_two_number_gan_circles_without_r1_and_spirals_in_with_it(gamma):
    """Data at 0, a sample at theta, D(x) = phi x: eigenvalues of the gradient field, by autograd on the library's losses."""

    def field(state):
        theta, phi = state

        def logit(v):
            return phi * v[:, 0]

        real = torch.zeros(1, 1, dtype=state.dtype)
        fake = theta.view(1, 1)
        loss_d = discriminator_loss(logit(real), logit(fake)) + gamma / 2 * r1_penalty(logit, real)
        loss_g = generator_loss(logit(fake))
        (down_d,) = torch.autograd.grad(loss_d, phi, create_graph=True, retain_graph=True)
        (down_g,) = torch.autograd.grad(loss_g, theta, create_graph=True)
        return -torch.stack([down_g, down_d])

    jacobian = torch.autograd.functional.jacobian(field, torch.zeros(2, dtype=torch.float64))
    eigenvalues = torch.linalg.eigvals(jacobian)
    root = torch.sqrt(torch.tensor(gamma**2 / 4 - 0.25, dtype=torch.complex128))
    expected = torch.stack([-gamma / 2 + root, -gamma / 2 - root])
    distance = torch.cdist(torch.view_as_real(eigenvalues), torch.view_as_real(expected))
    assert distance.min(1).values.max() < 1e-6
    assert (eigenvalues.real.max() < -1e-3) == (gamma > 0)


@pytest.mark.equation("style-dirac-cycle", "style-dirac")
@pytest.mark.parametrize("rate", [0.02, 0.05])
def test_two_number_gan_without_r1_stays_on_a_circle_of_the_step_size(rate):
    theta, phi = 0.5, 0.0
    radius = []
    for step in range(int(60 / rate**2)):
        s = 1 / (1 + math.exp(-phi * theta))
        theta, phi = theta + rate * phi * (1 - s), phi - rate * theta * s
        if step > 50 / rate**2:
            radius.append(math.hypot(theta, phi))
    assert sum(radius) / len(radius) == pytest.approx(math.sqrt(2 * rate), rel=0.03)


@pytest.mark.equation("style-ema", "style-ema-cycle")
def test_average_of_a_circling_weight_shrinks_by_the_formula():
    """theta_t = e^{i w t}: after the start is forgotten, |average| = (1 - d) / |1 - d e^{-i w}|; the course's EMA does it."""
    decay, speed = 0.9, 0.3

    class Circling(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

    model = Circling()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
    for t in range(400):
        with torch.no_grad():
            model.weight.copy_(torch.tensor([math.cos(speed * t), math.sin(speed * t)], dtype=torch.float64))
        average.update_parameters(model)
    expected = (1 - decay) / abs(1 - decay * complex(math.cos(speed), -math.sin(speed)))
    assert average.module.weight.norm().item() == pytest.approx(expected, rel=1e-9)


# --- training and files ---------------------------------------------------------------------------------------------------


def test_training_step_has_two_phases_and_reaches_every_parameter():
    model = small()
    for layer in model.generator.layers:
        nn.init.constant_(layer.noise_scale, 0.1)
    x = torch.rand(8, 1, 28, 28, generator=rng())
    groups = {name: list(parameters) for name, parameters in model.parameter_groups().items()}
    names = []
    for group, loss in model.training_step(x, generator=rng(1)):
        names.append(group)
        gradients = torch.autograd.grad(loss, groups[group], allow_unused=True)
        named = dict(model.named_parameters())
        missing = [
            name
            for name, p in named.items()
            for q, g in zip(groups[group], gradients, strict=True)
            if p is q and (g is None or not g.any())
        ]
        assert missing == []
    assert names == ["discriminator", "generator"]


def test_training_on_glyphs_brings_the_ink_closer():
    """After thirty steps the share of ink in each pixel is nearer to the data's than at the start."""
    plan = recipe("style", "glyphs", "smoke", steps=30, ema_decay=None)
    data = dataset("glyphs", n=500)
    before = build(plan).sample(200, generator=rng()).mean(0)
    run = fit(build(plan), data, plan, progress=False)
    after = run.model.sample(200, generator=rng()).mean(0)
    ink = data.x.mean(0)
    assert (after - ink).norm() < 0.7 * (before - ink).norm()
    assert run.monitors["discriminator_accuracy"].shape == (30,)


def test_a_wild_game_stops_with_its_cause():
    plan = Recipe("style", "glyphs", "smoke", steps=100, batch_size=4, lr=1e4)
    with pytest.raises(DivergenceError, match=r"gamma|learning rate"):
        fit(small(gamma=0.0), dataset("glyphs", n=100), plan, progress=False)


def test_samples_are_images_and_repeat():
    model = small().eval()
    first, second = (model.sample(3, psi=0.7, generator=rng(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (3, 1, 28, 28)
    assert 0 <= first.min() <= first.max() <= 1
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        next(model.training_step(torch.full((4, 1, 28, 28), 2.0)))
    with pytest.raises(ValueError, match="power of two"):
        models.build("style", image_shape=(1, 27, 27))


def test_a_saved_model_draws_the_same(tmp_path):
    plan = Recipe(
        "style", "glyphs", "smoke", steps=2, batch_size=8, ema_decay=0.9,
        model={"width": 4, "latent_dim": 8, "style_dim": 8},
    )  # fmt: skip
    run = fit(build(plan), dataset("glyphs", n=50), plan, progress=False)
    save_run(run, plan, tmp_path / "style_glyphs.safetensors", checkpoints.commit())
    again = models.load("style_glyphs", tmp_path)
    ours, theirs = (m.sample(4, generator=rng()) for m in (run.model, again))
    torch.testing.assert_close(theirs, ours, rtol=0, atol=2e-2)  # half precision on disk


def test_networks_compile_without_graph_breaks():
    model = small()
    styles, maps = model.styles(draw(2, 8, dtype=torch.float32)), model.generator.noise_maps(2)
    compiled = torch.compile(model.generator, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(styles, maps), model.generator(styles, maps))
    x = torch.rand(4, 1, 28, 28, generator=rng())
    compiled = torch.compile(model.discriminator, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), model.discriminator(x))


# --- the recorded experiments, in smoke -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_each_of_the_four_games_on_the_grid_is_another_one():
    found = style_grid.run("smoke")
    assert found["samples"].shape == (4, 1_000, 2)
    assert ((found["modes"] >= 0) & (found["modes"] <= 25)).all()
    assert ((found["good"] >= 0) & (found["good"] <= 1)).all()
    assert len(set(found["swing"].ravel())) == 4


@pytest.mark.slow
def test_a_hidden_label_is_drawn_no_more_often_than_by_chance():
    found = style_labels.run("smoke")
    assert found["confusion"].shape == (2, 1, 10, 10)
    assert found["confusion"].sum(3) == pytest.approx(1, abs=1e-5)
    assert found["agreement"][0, 0] < 0.4


@pytest.mark.slow
def test_patches_alone_miss_the_targets_that_l1_hits():
    found = style_l1.run("smoke")
    error = dict(zip(found["method"], found["error"][:, 0], strict=True))
    assert error["L1"] < error["patches"]
    assert error["both"] < error["patches"]
    assert found["images"].shape == (3, 10, 28, 28)
