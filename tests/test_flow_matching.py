"""Flow matching against closed forms: the best velocity, its score, its density, and straight lines."""

import math

import pytest
import torch
from torch import nn

from course_lib import checkpoints, models
from course_lib.data import toy2d
from course_lib.models import flow_matching
from course_lib.models.exact_score import mixture_score
from course_lib.models.flow_matching import couple, mixture_velocity, straightness
from course_lib.sampling import ode
from course_lib.training import all_recipes, build, fit, recipe, save_run
from course_lib.training.experiments import sde_flow, sde_reflow

WEIGHTS = torch.tensor([0.3, 0.7], dtype=torch.float64)
MEANS = torch.tensor([[-1.0, 0.5], [0.8, -0.3]], dtype=torch.float64)
COVS = torch.tensor([[[0.1, 0.0], [0.0, 0.2]], [[0.5, 0.3], [0.3, 0.4]]], dtype=torch.float64)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


def draw_mixture(n, seed=0):
    which = torch.multinomial(WEIGHTS, n, replacement=True, generator=rng(seed))
    root = torch.linalg.cholesky(COVS)[which]
    return MEANS[which] + (root @ draw(n, 2, 1, seed=seed + 1)).squeeze(-1)


class Oracle(nn.Module):
    """The exact velocity where the network stands."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1, dtype=torch.float64))

    def forward(self, x, t, y=None):
        return mixture_velocity(x, t / flow_matching.TIME_SCALE, WEIGHTS, MEANS, COVS)


def oracle_model():
    model = flow_matching.build(None)
    model.network = Oracle()
    return model


@pytest.mark.equation("sde-flow-oracle", "sde-flow-matching")
def test_exact_velocity_is_the_mean_of_the_lines_through_a_point():
    """By weights: E[eps - x_0 | x_t] over 400,000 data x_0, each with the density that noise takes it to x_t, for three points."""
    x0 = draw_mixture(400_000)
    xt = torch.tensor([[0.5, 0.2], [-0.8, 0.6], [0.0, 0.0]], dtype=torch.float64)
    for t in (0.4, 0.8):
        exact = mixture_velocity(xt, torch.full((3,), t, dtype=torch.float64), WEIGHTS, MEANS, COVS)
        for point, expected in zip(xt, exact, strict=True):
            noise = (point - (1 - t) * x0) / t
            share = (-0.5 * noise.square().sum(1)).softmax(0)
            mean = (share[:, None] * (noise - x0)).sum(0)
            error = (share[:, None] ** 2 * (noise - x0 - mean) ** 2).sum(0).sqrt()
            assert ((mean - expected).abs() < 4 * error).all()


@pytest.mark.equation("sde-flow-oracle", "sde-flow-score")
def test_velocity_and_score_are_two_faces_of_one_thing():
    model, x = oracle_model(), draw(50, 2)
    t = torch.rand(50, generator=rng(1), dtype=torch.float64) * 0.98 + 0.01
    expected = mixture_score(x, 1 - t, t, WEIGHTS, MEANS, COVS)
    torch.testing.assert_close(model.score(x, t), expected, rtol=1e-7, atol=1e-7)


@pytest.mark.equation("sde-flow-oracle")
def test_velocity_at_both_ends():
    """At the noise it points from the data's mean to x; at the data, from x to the noise's mean 0."""
    x = draw(5, 2)
    at = [
        mixture_velocity(x, torch.full((5,), t, dtype=torch.float64), WEIGHTS, MEANS, COVS)
        for t in (1.0, 0.0)
    ]
    torch.testing.assert_close(at[0], x - WEIGHTS @ MEANS)
    torch.testing.assert_close(at[1], -x)


@pytest.mark.equation("sde-flow-matching", "sde-flow-marginal")
def test_flow_of_the_exact_velocity_draws_the_data():
    """Moments of 20,000 samples within 4 standard errors, and their density is the mixture's."""
    model, n = oracle_model(), 20_000
    x = model.decode(draw(n, 2), steps=40)
    mean = WEIGHTS @ MEANS
    second = torch.einsum("k,kij->ij", WEIGHTS, COVS + MEANS[:, :, None] * MEANS[:, None, :])
    assert ((x.mean(0) - mean).abs() < 4 * x.std(0) / math.sqrt(n)).all()
    product = x[:, :, None] * x[:, None, :]
    assert ((product.mean(0) - second).abs() < 4 * product.std(0) / math.sqrt(n)).all()
    law = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(WEIGHTS), torch.distributions.MultivariateNormal(MEANS, COVS)
    )
    torch.testing.assert_close(model.log_prob(x[:5]), law.log_prob(x[:5]), rtol=0, atol=1e-3)


@pytest.mark.equation("sde-flow-matching")
def test_loss_is_lowest_at_the_exact_velocity():
    """The excess of another velocity is its mean squared distance from the exact one (the loss's cross term has mean 0)."""
    model, x, shift = oracle_model(), draw_mixture(20_000, seed=5), 0.3
    best = model.loss(x, generator=rng(1)).item()
    exact = model.network.forward
    model.network.forward = lambda x, t, y=None: exact(x, t) + shift
    assert model.loss(x, generator=rng(1)).item() - best == pytest.approx(shift**2, abs=4 * 2 * shift / 200)


def test_exact_velocity_of_one_gaussian_is_linear():
    x, t = draw(6, 2), torch.full((6,), 0.3, dtype=torch.float64)
    mean, cov = MEANS[1], COVS[1]
    total = 0.7**2 * cov + 0.3**2 * torch.eye(2, dtype=torch.float64)
    slope = (0.3 * torch.eye(2, dtype=torch.float64) - 0.7 * cov) @ torch.linalg.inv(total)
    expected = (x - 0.7 * mean) @ slope.T - mean
    got = mixture_velocity(x, t, WEIGHTS[:1] / WEIGHTS[0], mean[None], cov[None])
    torch.testing.assert_close(got, expected)


@pytest.mark.equation("sde-straightness")
def test_straightness_is_zero_for_straight_lines_and_known_for_a_parabola():
    start = draw(4, 2)
    times = torch.linspace(1, 0, 401, dtype=torch.float64)

    def straight(x, t):
        return torch.ones_like(x)

    path = torch.stack([start - (1 - t) for t in times])
    torch.testing.assert_close(straightness(path, straight), torch.zeros(4, dtype=torch.float64))
    # x = start - (1 - t^2) e_1 has velocity 2 t e_1 and chord e_1: the mean of (1 - 2 t)^2 is 1/3
    e1 = torch.tensor([1.0, 0.0], dtype=torch.float64)
    path = torch.stack([start - (1 - t**2) * e1 for t in times])
    third = straightness(path, lambda x, t: 2 * t[:, None] * e1)
    torch.testing.assert_close(third, torch.full((4,), 1 / 3, dtype=torch.float64), rtol=1e-4, atol=0)


@pytest.mark.equation("sde-reflow", "sde-straightness")
def test_reflow_straightens_and_keeps_the_law():
    """The exact flow, then a network on its pairs: straighter, and one Euler step nearer to the data."""
    model = flow_matching.build(None)
    model.network = Oracle().float()
    mixture = [v.float() for v in (WEIGHTS, MEANS, COVS)]
    model.network.forward = lambda x, t, y=None: mixture_velocity(x, t / flow_matching.TIME_SCALE, *mixture)
    pairs = couple(model, 8_000, generator=rng(), steps=20)
    assert pairs.shape == (8_000, 2, 2)
    plan = recipe("flow_matching", "two_moons", "smoke", steps=300, lr=5e-3)
    plan = plan.replace(model={**plan.model, "width": 64, "pairs": True})
    second = fit(build(plan), pairs, plan, progress=False).model
    noise = torch.randn(2_000, 2, generator=rng(8))
    bends = []
    for flow in (model, second):
        path = flow.decode(noise, steps=40, path=True)
        bends.append(straightness(path, flow.velocity).mean().item())
    assert bends[1] < 0.25 * bends[0]
    fine = model.decode(noise, steps=40)
    errors = [
        (flow.decode(noise, steps=1, solver="euler") - fine).norm(dim=1).mean() for flow in (model, second)
    ]
    assert errors[1] < 0.4 * errors[0]


@pytest.fixture(scope="module")
def trained():
    plan = recipe("flow_matching", "two_moons", "smoke", steps=300, lr=5e-3)
    return plan, fit(build(plan), toy2d.two_moons(20_000, rng()), plan, progress=False)


def test_learned_flow_draws_the_data_and_knows_their_density(trained, tmp_path):
    plan, run = trained
    assert run.losses["all"][-50:].mean() < 0.85 * run.losses["all"][:10].mean()
    x, test = run.model.sample(1_000, generator=rng(1)), toy2d.two_moons(1_000, rng(5))
    assert torch.equal(x, run.model.sample(1_000, generator=rng(1)))
    assert (x.mean(0) - test.mean(0)).norm() < 0.3
    assert (x.std(0) / test.std(0) - 1).abs().max() < 0.25
    gaussian = torch.distributions.MultivariateNormal(test.mean(0), torch.cov(test.T))
    density = run.model.log_prob(test[:200], tolerance=1e-3)
    assert density.mean() > gaussian.log_prob(test[:200]).mean() + 0.1
    save_run(run, plan, tmp_path / "moons.safetensors", checkpoints.commit())
    loaded = models.load("moons", tmp_path)
    torch.testing.assert_close(
        loaded.sample(5, generator=rng()), run.model.sample(5, generator=rng()), atol=0.02, rtol=0.02
    )


def small(**options):
    return flow_matching.build((1, 8, 8), width=8, multipliers=[1, 2], blocks=1, attention=[], **options)


def test_images_go_in_and_out():
    model = small(classes=3, steps=2)
    x, y = torch.rand(4, 1, 8, 8, generator=rng()), torch.tensor([0, 1, 2, 0])
    loss = model.loss(x, y, generator=rng())
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    assert torch.equal(loss, model.loss(x, y, generator=rng()))
    assert model.sample(3, generator=rng()).shape == (3, 1, 8, 8)
    assert model.sample(4, y, generator=rng()).shape == (4, 1, 8, 8)
    assert model.n_evaluations == 4
    assert model.decode(model.noise(2), path=True).shape == (3, 2, 1, 8, 8)
    assert not hasattr(model, "log_prob")


def test_some_labels_are_withheld_and_labels_matter():
    seen = []
    model = flow_matching.build(None, classes=4, label_dropout=0.25)

    class Spy(nn.Module):
        def forward(self, x, t, y=None):
            seen.append(y)
            return x

    model.network = Spy()
    n = 8_000
    model.loss(torch.zeros(n, 2), torch.zeros(n, dtype=torch.int64), generator=rng())
    assert set(seen[0].tolist()) == {0, 4}
    assert (seen[0] == 4).float().mean().item() == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / n))
    model.loss(torch.zeros(n, 2), generator=rng())
    assert seen[1] is None


def test_noise_of_pairs_is_used_as_it_is():
    """Data at 0, noise given: at time t the network sees t times that noise."""
    model = flow_matching.build(None, pairs=True)
    noise = torch.tensor([[1.0, 2.0]])

    class Spy(nn.Module):
        def forward(self, x, t, y=None):
            torch.testing.assert_close(x, t[:, None] / flow_matching.TIME_SCALE * noise)
            return noise.expand(len(x), 2)

    model.network = Spy()
    pairs = torch.stack([torch.zeros(5, 2), noise.expand(5, 2)], 1)
    assert model.loss(pairs, generator=rng()).item() == pytest.approx(0, abs=1e-12)


def test_image_density_by_hutchinson_is_finite():
    model = small(steps=2)
    x = 2 * torch.rand(2, 1, 8, 8, generator=rng()) - 1
    times = torch.linspace(0, 1, 3)
    probe = torch.randn(x.shape, generator=rng()).sign()
    value = ode.log_prob(
        model.velocity,
        x,
        times,
        lambda z: -0.5 * z.flatten(1).square().sum(1),
        probe=probe,
        method="midpoint",
    )
    assert value.shape == (2,)
    assert value.isfinite().all()


def test_bad_inputs_are_named():
    with pytest.raises(ValueError, match="float points"):
        flow_matching.build(None).loss(torch.zeros(3, 3))
    with pytest.raises(ValueError, match=r"in \[0, 1\]"):
        small().loss(torch.full((2, 1, 8, 8), 255.0))
    with pytest.raises(ValueError, match="pairs"):
        flow_matching.build(None, pairs=True).loss(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="solver='dopri5'"):
        flow_matching.build(None, solver="dopri5")
    with pytest.raises(ValueError, match="no labels"):
        flow_matching.build(None).sample(2, torch.zeros(2, dtype=torch.int64))


def test_recipes_build():
    for plan in all_recipes("flow_matching"):
        if plan.tier in ("smoke", "laptop"):
            build(plan)


def test_bend_of_a_half_circle():
    angle = torch.linspace(0, math.pi, 400, dtype=torch.float64)
    path = torch.stack([angle.cos(), angle.sin()], 1)[:, None]  # (S + 1, 1, 2)
    assert sde_flow.bend(path).item() == pytest.approx(math.pi / 2, rel=1e-4)


def test_experiments_run():
    assert sde_flow.run("smoke")["fid"].shape == (4, 1)
    record = sde_reflow.run("smoke")
    assert record["paths"].shape == (3, 21, 60, 2)
    assert record["straightness"][1] < record["straightness"][0]
