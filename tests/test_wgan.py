"""Wasserstein GANs against closed forms, singular values, exact transport, and plain PyTorch."""

import math

import pytest
import torch
from torch import nn
from torch.func import functional_call

from course_lib import checkpoints, models
from course_lib.data import dataset, toy2d
from course_lib.metrics import lipschitz_dual, optimal_transport, wasserstein1
from course_lib.models.wgan import (
    LIPSCHITZ,
    WGAN,
    Critic,
    build_critic,
    gradient_penalty,
    lipschitz_bound,
    slope,
)
from course_lib.nn import MLP, DCGANDiscriminator
from course_lib.training import DivergenceError, Recipe, build, fit, recipe, save_run
from course_lib.training.experiments import wgan_budget, wgan_ot


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed))


def seeded(make, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def linear_critic(weight):
    return lambda x: x.flatten(1) @ weight


# --- the penalty ---------------------------------------------------------------------------------------------------------


@pytest.mark.equation("wgan-gradient-penalty", "wgan-one-sided")
def test_penalty_of_a_linear_critic_is_known():
    weight = draw(12)
    real, fake = draw(7, 3, 2, 2, seed=1), draw(7, 3, 2, 2, seed=2)
    expected = (weight.norm() - 1) ** 2
    assert gradient_penalty(linear_critic(weight), real, fake).item() == pytest.approx(
        expected.item(), rel=1e-5
    )
    gentle = 0.5 * weight / weight.norm()
    assert gradient_penalty(linear_critic(gentle), real, fake).item() == pytest.approx(0.25, rel=1e-5)
    assert gradient_penalty(linear_critic(gentle), real, fake, one_sided=True).item() == 0
    steep = 3 * weight / weight.norm()
    assert gradient_penalty(linear_critic(steep), real, fake, one_sided=True).item() == pytest.approx(
        4, rel=1e-5
    )


@pytest.mark.equation("wgan-gradient-penalty")
def test_penalty_takes_the_norm_of_each_sample_at_uniform_mixtures():
    """f(x) = ||x||^2 / 2 has slope ||x||: the mean over u of (||u x|| - 1)^2 is r^2/3 - r + 1 when the fakes are 0."""
    real = 3 * draw(20_000, 2).double()
    real = 2 * real / real.norm(dim=1, keepdim=True)  # every real point at radius 2
    penalty = gradient_penalty(lambda x: x.square().sum(1) / 2, real, torch.zeros_like(real), rng(3))
    assert penalty.item() == pytest.approx(4 / 3 - 2 + 1, abs=4 * 0.3 / 20_000**0.5)


def test_slope_is_the_norm_of_the_gradient_of_each_point():
    x = draw(50, 3, seed=4).double()
    torch.testing.assert_close(slope(lambda v: v.square().sum(1) / 2, x), x.norm(dim=1))
    with torch.no_grad():
        torch.testing.assert_close(slope(lambda v: 3 * v.sum(1), x), torch.full((50,), 3 * 3**0.5).double())


def test_penalty_has_a_gradient_where_the_critic_is_flat():
    weight = torch.zeros(4, requires_grad=True)
    gradient_penalty(linear_critic(weight), draw(5, 4), draw(5, 4, seed=1)).backward()
    assert weight.grad.isfinite().all()


def test_penalty_survives_half_precision():
    critic = seeded(lambda: models.build("wgan", width=16).critic)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.mul_(3)  # slopes of order 1
    real, fake = torch.rand(16, 1, 28, 28, generator=rng()), torch.rand(16, 1, 28, 28, generator=rng(1))
    full = gradient_penalty(critic, real, fake, rng(2))
    with torch.autocast("cpu", torch.bfloat16):
        half = gradient_penalty(critic, real, fake, rng(2))
    assert half.item() == pytest.approx(full.item(), rel=0.02)


@pytest.mark.equation("wgan-penalty-field")
@pytest.mark.parametrize("power", [1, 2, 3])
def test_penalised_objective_is_an_expectation_over_the_mixtures(power):
    """E f(x) - E f(y) = E[f'(mixture) (x - y)] for uniform mixing; with normal mixing it is not."""
    x, y = draw(400_000, seed=1).double() + 1, 0.5 * draw(400_000, seed=2).double()
    u, normal = torch.rand(400_000, generator=rng(3)).double(), draw(400_000, seed=4).double()
    exact = (x**power).mean() - (y**power).mean()

    def along(mix):
        return (power * (mix * x + (1 - mix) * y) ** (power - 1) * (x - y)).mean().item()

    assert along(u) == pytest.approx(exact.item(), rel=0.02)
    if power > 1:
        assert abs(along(normal) - exact.item()) > 0.2


@pytest.mark.equation("wgan-penalty-optimum")
def test_penalised_critic_of_a_shift_overestimates_by_what_the_formula_says():
    """Two points at distance d: the slope is 1 + d / (2 lambda) and the estimate d + d^2 / (2 lambda)."""
    d, penalty = 4.0, 5.0
    pairs = torch.zeros(256, 2, 2)
    pairs[:, 1, 0] = d
    critic = Critic(nn.Sequential(nn.Linear(2, 1), nn.Flatten(0)), penalty=penalty)
    plan = Recipe("wgan", "shift", "smoke", steps=400, batch_size=256, lr=0.02, schedule="cosine")
    run = fit(critic, pairs, plan, progress=False)
    assert run.monitors["distance"][-1] == pytest.approx(d + d**2 / (2 * penalty), rel=1e-3)
    assert slope(critic, pairs[:, 0]).mean().item() == pytest.approx(1 + d / (2 * penalty), rel=1e-3)


@pytest.mark.equation("wgan-penalty-optimum")
def test_penalised_estimate_on_the_line_by_brute_force():
    """Uniform laws on [0, 1] and [2, 3]: the field m(t) = (G - F) / density, from a histogram of the mixtures."""
    n, penalty = 2_000_000, 2.0
    x, y = torch.rand(n, generator=rng(1)).double() + 2, torch.rand(n, generator=rng(2)).double()
    mixed = torch.rand(n, generator=rng(3)).double() * (x - y) + y
    bins = torch.linspace(0, 3, 61, dtype=torch.float64)
    cell = torch.bucketize(mixed, bins[1:-1])
    count = torch.bincount(cell, minlength=60)
    field = torch.zeros(60).double().index_add_(0, cell, x - y) / count
    middle = (bins[1:] + bins[:-1]) / 2
    flux = torch.minimum(torch.minimum(middle, torch.ones(())), 3 - middle)  # F_q - F_p of the two uniforms
    density = count / n / 0.05
    torch.testing.assert_close(field * density, flux, rtol=0, atol=0.02)
    share = count / n

    def objective(g):
        return (share * (field * g - penalty * (g.abs() - 1) ** 2)).sum()

    best = 1 + field / (2 * penalty)
    for seed in range(20):
        assert objective(best + 0.1 * draw(60, seed=seed).double()) < objective(best)
    estimate = (share * field * best).sum().item()
    assert estimate == pytest.approx(2 + (share * field**2).sum().item() / (2 * penalty), rel=0.01)


def test_estimate_keeps_its_digits_in_half_precision():
    critic = Critic(nn.Sequential(nn.Linear(1, 1, bias=False), nn.Flatten(0)), "spectral")
    critic.network[0].weight.data.fill_(1.0)
    with torch.autocast("cpu", torch.bfloat16):
        critic.loss(torch.tensor([[100.0], [100.5]] * 32), torch.full((64, 1), 100.0))
    assert critic.monitors["distance"].item() == 0.25  # numbers near 100 in bfloat16 are halves
    assert critic.monitors["distance"].dtype == torch.float32


def test_wrong_data_are_refused():
    model = models.build("wgan", width=8, n_critic=1)
    for bad in (
        torch.zeros(4, 1, 28, 28, dtype=torch.uint8),
        torch.full((4, 1, 28, 28), 2.0),
        torch.rand(4, 784),
    ):
        with pytest.raises(ValueError, match=r"expected float data|must lie in"):
            next(model.training_step(bad))


# --- what is refused -------------------------------------------------------------------------------------------------------


def test_penalised_critic_refuses_batch_norm():
    with pytest.raises(ValueError, match="must not have batch norm"):
        models.build("wgan", norm="batch")
    with pytest.raises(ValueError, match="batch norm"):
        Critic(nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)), "one_sided")
    models.build("wgan", lipschitz="clip", norm="batch")
    with pytest.raises(ValueError, match="expected one of clip, penalty"):
        models.build("wgan", lipschitz="hope")


# --- slopes bounded by construction ------------------------------------------------------------------------------------------


@pytest.mark.equation("wgan-product")
def test_no_slope_exceeds_the_product_of_the_singular_values():
    critic = seeded(lambda: build_critic(3, width=32, depth=3))
    bound = lipschitz_bound(critic)
    assert 0 < slope(critic, 3 * draw(2_000, 3)).max() < bound
    deep_linear = nn.Sequential(nn.Linear(3, 1, bias=False))
    assert lipschitz_bound(deep_linear) == pytest.approx(deep_linear[0].weight.norm().item())
    torch.testing.assert_close(
        slope(lambda x: deep_linear(x)[:, 0], draw(4, 3)).max(), deep_linear[0].weight.norm()
    )
    with pytest.raises(ValueError, match="a convolution's norm"):
        lipschitz_bound(DCGANDiscriminator(1, 28, 8))


@pytest.mark.equation("wgan-clip-scale")
def test_clipped_family_scales_with_the_power_of_the_depth():
    """Every weight of an MLP without biases times a: the critic times a^L."""
    network = nn.Sequential(*(nn.Linear(a, b, bias=False) for a, b in ((2, 8), (8, 8), (8, 1))))
    network = nn.Sequential(network[0], nn.ReLU(), network[1], nn.ReLU(), network[2])
    x, scaled = draw(20, 2), {name: 0.1 * p for name, p in network.named_parameters()}
    torch.testing.assert_close(functional_call(network, scaled, x), 1e-3 * network(x))


@pytest.mark.equation("wgan-power-iteration")
def test_spectral_normalisation_divides_by_the_largest_singular_value():
    critic = seeded(lambda: build_critic(2, width=48, depth=2, lipschitz="spectral"))
    pairs = torch.stack([draw(2_000, 2), draw(2_000, 2, seed=1) + 2], 1)
    fit(critic, pairs, Recipe("wgan", "toy", "smoke", steps=300, batch_size=64, lr=1e-3), progress=False)
    for layer in (m for m in critic.modules() if isinstance(m, nn.Linear)):
        raw = layer.parametrizations.weight.original
        true = torch.linalg.svdvals(raw)[0]
        torch.testing.assert_close(raw / layer.weight, true.expand_as(raw), rtol=0.02, atol=0)
    assert lipschitz_bound(critic) < 1.02
    assert slope(critic, 3 * draw(1_000, 2)).max() < 1.02


@pytest.mark.equation("wgan-conv-bound")
def test_a_normalised_convolution_is_at_most_twice_as_steep():
    """Each pixel lies under (4/2)^2 = 4 windows of a 4x4 kernel at stride 2, so the map's norm is at most sqrt 4."""
    network = seeded(lambda: DCGANDiscriminator(1, 28, 8, "spectral"))
    network.train()
    for _ in range(30):
        network(torch.rand(2, 1, 28, 28, generator=rng()))
    network.eval()
    conv = network.layers[0]
    assert torch.linalg.matrix_norm(conv.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)
    basis = torch.eye(28**2).view(-1, 1, 28, 28)
    with torch.no_grad():
        matrix = (conv(basis) - conv(torch.zeros(1, 1, 28, 28))).flatten(1)
    norm = torch.linalg.matrix_norm(matrix, 2).item()
    assert 1 < norm <= 2
    assert slope(network, torch.rand(50, 1, 28, 28, generator=rng(1))).max() < 4


# --- the oracle: a translated law --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shifted():
    """2,000 pairs: two moons moved by v, and two moons; W_1 = ||v||."""
    v = torch.tensor([1.8, -0.6])
    return torch.stack([toy2d.two_moons(2_000, rng()) + v, toy2d.two_moons(2_000, rng(1))], 1), v


@pytest.mark.equation("wgan-translation", "wgan-dual")
def test_distance_of_a_translated_law_is_the_length_of_the_shift(shifted):
    """The coupling x -> x + v costs ||v||, the linear critic earns it, and nothing does better: exact transport."""
    _, v = shifted
    x = toy2d.two_moons(400, rng(2)).double()
    exact = wasserstein1(x + v, x)
    assert exact.item() == pytest.approx(v.norm().item(), rel=1e-6)
    best = linear_critic((v / v.norm()).double())
    assert (best(x + v).mean() - best(x).mean()).item() == pytest.approx(exact.item(), rel=1e-6)
    assert slope(best, x).max().item() == pytest.approx(1)


@pytest.mark.equation("wgan-primal", "wgan-dual", "wgan-weak", "wgan-scale")
def test_plans_cost_at_least_what_functions_earn_and_the_best_of_both_agree():
    x, y = draw(40, 2).double() + 1, 0.5 * draw(40, 2, seed=1).double()
    best = optimal_transport(x, y).cost
    value, _, _ = lipschitz_dual(x, y)
    torch.testing.assert_close(value, best)
    random_plan = (x[torch.randperm(40, generator=rng(2))] - y).norm(dim=1).mean()
    some_function = (x.norm(dim=1).mean() - y.norm(dim=1).mean()).abs()
    assert some_function < best < random_plan
    steeper, _, _ = lipschitz_dual(3 * x, 3 * y)  # slope 1 on stretched points is slope 3 on these
    torch.testing.assert_close(steeper, 3 * best)


@pytest.mark.equation("wgan-rays")
def test_an_optimal_critic_has_slope_one_along_the_rays():
    """The potential of the linear programme, extended to the plane by its Lipschitz bound, between moved points."""
    x, y = draw(40, 2).double() + 1, 0.5 * draw(40, 2, seed=1).double()
    _, f_x, f_y = lipschitz_dual(x, y)

    def extended(z):
        """The smallest 1-Lipschitz function with these values."""
        known, points = torch.cat([f_x, f_y]), torch.cat([x, y])
        return (known - torch.cdist(z, points)).amax(1)

    i, j = torch.nonzero(optimal_transport(x, y).plan > 1e-6, as_tuple=True)
    length = (x[i] - y[j]).norm(dim=1)
    torch.testing.assert_close(f_x[i] - f_y[j], length)
    for t in (0.25, 0.5, 0.9):
        torch.testing.assert_close(extended(y[j] + t * (x[i] - y[j])), f_y[j] + t * length)


@pytest.mark.equation("wgan-critic", "wgan-translation")
@pytest.mark.parametrize(("lipschitz", "low", "high"), [("penalty", 0.97, 1.15), ("one_sided", 0.97, 1.15)])
def test_learned_critic_finds_the_shift(shifted, lipschitz, low, high):
    """Estimate within the band d ... d + 1.5 d^2 / (2 lambda), and a direction that is the shift's."""
    pairs, v = shifted
    critic = seeded(lambda: build_critic(2, lipschitz=lipschitz))
    plan = Recipe(
        "wgan", "shift", "smoke", steps=600, batch_size=256, lr=3e-3, schedule="cosine",
        optimizer_options={"betas": [0.5, 0.9]},
    )  # fmt: skip
    fit(critic, pairs, plan, progress=False)
    real, fake = pairs.unbind(1)
    estimate = (critic(real).mean() - critic(fake).mean()).item()
    assert low * v.norm() < estimate < high * v.norm()
    between = 0.5 * (real + fake).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(between).sum(), between)
    cosine = (gradient @ v) / gradient.norm(dim=1) / v.norm()
    assert cosine.median() > 0.97


def test_spectral_critic_never_overestimates(shifted):
    pairs, v = shifted
    critic = seeded(lambda: build_critic(2, lipschitz="spectral"))
    plan = Recipe("wgan", "shift", "smoke", steps=600, batch_size=256, lr=3e-3, schedule="cosine")
    fit(critic, pairs, plan, progress=False)
    real, fake = pairs.unbind(1)
    estimate = (critic(real).mean() - critic(fake).mean()).item()
    assert 0.75 * v.norm() < estimate < 1.03 * v.norm()


class Shift(nn.Module):
    def __init__(self, theta):
        super().__init__()
        self.theta = nn.Parameter(theta)

    def forward(self, z):
        return z + self.theta


@pytest.mark.equation("wgan-generator")
@pytest.mark.parametrize("far", [0.1, 10.0, 1000.0])
def test_generator_feels_a_force_of_one_at_any_distance(far):
    """G(z) = z + theta against z, best critic: the loss's gradient is that of ||theta||, whatever theta is."""
    theta = far * torch.tensor([0.6, 0.8])
    network = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Flatten(0))
    network[0].weight.data[0] = -theta / far
    model = WGAN(Shift(theta), Critic(network), latent_dim=2, n_critic=1, images=False)
    *_, (group, loss) = model.training_step(draw(50, 2), generator=rng())
    assert group == "generator"
    (gradient,) = torch.autograd.grad(loss, model.generator.theta)
    torch.testing.assert_close(gradient, theta / theta.norm())


@pytest.mark.equation("wgan-ot-bias")
def test_minibatch_transport_is_biased_upwards_and_a_bounded_critic_downwards():
    """Held-out estimate of a 1-Lipschitz critic <= ||v|| <= mean transport cost of small samples, falling with n."""
    v = torch.zeros(8)
    v[0] = 0.5
    costs = []
    for n in (8, 32, 128):
        pairs = [(draw(n, 8, seed=2 * i) + v, draw(n, 8, seed=2 * i + 1)) for i in range(40)]
        values = torch.stack([wasserstein1(x, y) for x, y in pairs])
        costs.append((values.mean().item(), values.std().item() / 40**0.5))
    means = [mean for mean, _ in costs]
    assert means[0] > means[1] > means[2] > 0.5 + 10 * costs[2][1]
    best = linear_critic(v / v.norm())
    x, y = draw(100_000, 8, seed=100) + v, draw(100_000, 8, seed=101)
    assert (best(x).mean() - best(y).mean()).item() == pytest.approx(0.5, abs=4 * (2 / 100_000) ** 0.5)


# --- the algorithm -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lipschitz", LIPSCHITZ)
def test_a_step_is_the_published_algorithm(lipschitz):
    model = models.build("wgan", image_shape=None, latent_dim=3, width=16, lipschitz=lipschitz, n_critic=4)
    phases = list(model.training_step(draw(32, 2), generator=rng()))
    assert [group for group, _ in phases] == ["critic"] * 4 + ["generator"]
    with pytest.raises(ValueError, match="cannot be cut into n_critic=4"):
        next(model.training_step(draw(30, 2)))


@pytest.mark.equation("wgan-critic", "wgan-generator", "wgan-objective")
@pytest.mark.parametrize("lipschitz", ["clip", "penalty"])
def test_training_equals_a_plain_pytorch_loop(lipschitz):
    """Two steps of `fit`, n_critic = 3, against the algorithm written out with `backward` and two optimisers."""
    rate = 0.01

    def make():
        return models.build(
            "wgan", image_shape=None, latent_dim=2, width=8, lipschitz=lipschitz, n_critic=3, clip=0.05
        )

    data = draw(60, 2)
    plan = Recipe("wgan", "toy", "smoke", steps=2, batch_size=30, lr=rate, optimizer="rmsprop")
    ours = fit(seeded(make), data, plan, progress=False).model

    from course_lib.training.loop import batch_indices, derived_seed

    peer = seeded(make)
    critic, generator = peer.critic.network, peer.generator
    steppers = [torch.optim.RMSprop(net.parameters(), rate) for net in (critic, generator)]
    for step in range(2):
        noise = rng(derived_seed(0, step, 0))
        x = data[batch_indices(60, 30, step, 0)]
        for k in range(3):
            real = x[10 * k : 10 * k + 10]
            fake = generator(torch.randn(10, 2, generator=noise)).detach()
            loss = critic(fake).mean() - critic(real).mean()
            if lipschitz == "penalty":
                u = torch.rand(10, 1, generator=noise)
                mixed = (u * real + (1 - u) * fake).requires_grad_()
                (g,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
                loss = loss + 10 * ((g.square().sum(1).sqrt() - 1) ** 2).mean()
            steppers[0].zero_grad()
            loss.backward()
            steppers[0].step()
            if lipschitz == "clip":
                for p in critic.parameters():
                    p.data.clamp_(-0.05, 0.05)
        loss = -critic(generator(torch.randn(10, 2, generator=noise))).mean()
        steppers[1].zero_grad()
        loss.backward()
        steppers[1].step()
    for name, value in peer.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize("lipschitz", ["clip", "penalty", "spectral"])
def test_gradients_reach_every_parameter(shape, lipschitz):
    model = models.build("wgan", image_shape=shape, width=8, latent_dim=5, lipschitz=lipschitz, n_critic=1)
    x = torch.rand(6, *shape, generator=rng())
    groups = {name: list(parameters) for name, parameters in model.parameter_groups().items()}
    for group, loss in model.training_step(x, generator=rng(1)):
        gradients = torch.autograd.grad(loss, groups[group], allow_unused=True)
        # the critic's last bias shifts both terms alike
        missing = sum(g is None or not g.any() for g in gradients)
        assert missing <= (group == "critic"), group


def test_clipping_happens_after_the_optimiser_has_stepped():
    model = models.build(
        "wgan", image_shape=None, lipschitz="clip", clip=0.02, n_critic=1, latent_dim=2, width=16
    )
    plan = Recipe("wgan", "ring8", "smoke", steps=3, batch_size=64, optimizer="rmsprop", lr=0.5)
    fit(model, toy2d.ring8(500, rng()), plan, progress=False)
    assert max(p.abs().max().item() for p in model.critic.parameters()) == pytest.approx(0.02)


def test_a_clipped_critic_learns_on_its_own():
    pairs = torch.stack([draw(500, 2) + 1, draw(500, 2, seed=1)], 1)
    critic = seeded(lambda: build_critic(2, lipschitz="clip", clip=0.1))
    run = fit(critic, pairs, Recipe("wgan", "toy", "smoke", steps=200, batch_size=64), progress=False)
    assert max(p.abs().max().item() for p in critic.parameters()) <= 0.1 + 1e-7
    assert run.monitors["distance"][-50:].mean() > 10 * abs(run.monitors["distance"][:5].mean())


def test_an_unbounded_critic_stops_with_its_cause():
    model = models.build("wgan", image_shape=None, penalty=0.0, n_critic=1, latent_dim=2, width=32)
    plan = Recipe("wgan", "ring8", "smoke", steps=400, batch_size=64, lr=30.0)
    with pytest.raises(DivergenceError, match=r"slope ran away .*Raise the weight"):
        fit(model, toy2d.ring8(500, rng()), plan, progress=False)


@pytest.mark.parametrize(
    ("lipschitz", "advice"), [("clip", "lower the bound"), ("spectral", "lower the learning rates")]
)
def test_each_way_of_bounding_has_its_own_advice(lipschitz, advice):
    model = models.build("wgan", image_shape=None, lipschitz=lipschitz)
    assert advice in model.likely_cause({"distance": 1e9, "critic_accuracy": 1.0})


def test_the_estimate_falls_while_ring_is_learned():
    plan = recipe("wgan", "ring8", "smoke")
    run = fit(build(plan), toy2d.ring8(20_000, rng()), plan, progress=False)
    distance = run.monitors["distance"]
    assert distance.shape == (plan.steps,)
    assert distance[-50:].mean() < 0.6 * distance[20:70].mean()
    samples = run.model.sample(1_000, generator=rng(1))
    nearest = torch.cdist(samples, toy2d.ring8.modes).min(1)
    assert nearest.indices.unique().numel() == 8


def test_networks_compile_without_graph_breaks():
    x = torch.rand(2, 1, 28, 28)
    for lipschitz in ("clip", "penalty", "spectral"):
        model = models.build("wgan", width=8, lipschitz=lipschitz)
        for network, inputs in ((model.critic.network, x), (model.generator, torch.randn(2, 64))):
            compiled = torch.compile(network, backend="eager", fullgraph=True)
            torch.testing.assert_close(compiled(inputs).shape, network(inputs).shape)


# --- samples and files ---------------------------------------------------------------------------------------------------------


def test_images_and_samples():
    model = models.build("wgan", width=8).eval()
    first, second = (model.sample(4, generator=rng(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(first, model.sample(4, generator=rng(6)))
    assert first.shape == (4, 1, 28, 28)
    assert 0 <= first.min() <= first.max() <= 1


@pytest.mark.parametrize("lipschitz", ["penalty", "spectral", "clip"])
def test_a_saved_model_draws_the_same_samples(lipschitz, tmp_path):
    config = {"width": 8, "lipschitz": lipschitz, "n_critic": 1}
    plan = Recipe("wgan", "glyphs", "smoke", steps=3, batch_size=16, model=config)
    run = fit(build(plan), dataset("glyphs", n=100), plan, progress=False)
    save_run(run, plan, tmp_path / "wgan_glyphs.safetensors", checkpoints.commit())
    again = models.load("wgan_glyphs", tmp_path)
    ours, theirs = (m.sample(5, generator=rng()) for m in (run.model, again))
    torch.testing.assert_close(theirs, ours, rtol=0, atol=5e-3)  # half precision on disk
    x = torch.rand(5, 1, 28, 28, generator=rng(1))
    torch.testing.assert_close(again.critic(x), run.model.critic(x), rtol=2e-2, atol=1e-3)


def test_recipes_cut_their_batches_evenly():
    from course_lib.training.recipes.wgan import RECIPES

    assert {(r.data, r.tier) for r in RECIPES} >= {
        ("glyphs", "smoke"), ("ring8", "smoke"), ("glyphs", "laptop"), ("mnist", "laptop"),
        ("fashion_mnist", "laptop"), ("mnist", "colab"), ("mnist", "lab"), ("fashion_mnist", "lab"),
    }  # fmt: skip
    for plan in RECIPES:
        assert plan.batch_size % build(plan).n_critic == 0, plan
    assert math.isfinite(recipe("wgan", "mnist", "laptop").published["fid"]["value"])


def test_points_of_any_dimension():
    model = models.build("wgan", image_shape=None, dim=5, latent_dim=3, lipschitz="spectral")
    assert model.sample(7, generator=rng()).shape == (7, 5)
    assert model.critic(draw(7, 5)).shape == (7,)
    assert isinstance(model.critic.network[0], (nn.Sequential, MLP))


@pytest.mark.slow
def test_budget_experiment_looks_along_the_way():
    found = wgan_budget.run("smoke")
    assert found["fid"].shape == found["reading"].shape == (4, 1, wgan_budget.LOOKS)
    assert (found["fid"] > 0).all()
    assert (found["seconds"] > 0).all()
    assert len(set(found["fid"].ravel())) == 4 * wgan_budget.LOOKS  # every look sees other samples
    assert (found["steps"] % wgan_budget.LOOKS == 0).all()


@pytest.mark.slow
def test_transport_experiment_lies_above_its_floor_and_falls_with_n():
    found = wgan_ot.run("smoke")
    transport, floor = found["transport"].mean(2), found["floor"].mean(2)
    assert (transport[1:, 0] > transport[1:, -1]).all()  # the bias of few points, seen from 8 dimensions on
    assert (transport[0] > floor[0]).all()
    assert found["critic"][0, 0] == pytest.approx(1, abs=0.35)  # two dimensions, shift 1
    assert (found["image_transport"] > 0).all()
