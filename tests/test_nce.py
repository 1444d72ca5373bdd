"""Noise-contrastive estimation: the learned normaliser against the known one, and its samples against the target."""

import math

import pytest
import torch
from torch import nn

from course_lib import models, training
from course_lib.data import toy2d
from course_lib.models.nce import NoiseContrastive
from course_lib.sampling import effective_sample_size
from course_lib.training import Recipe, fit


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def fresh(*arguments, **options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return NoiseContrastive(*arguments, **options)


class Quadratic(nn.Module):
    """What the network must be for the energy to be x^2 / 2 + constant: an unnormalised standard normal, Z known."""

    def __init__(self, mean, root, constant):
        super().__init__()
        self.mean, self.root, self.constant = mean, root, constant

    def forward(self, z):
        x = self.mean + z @ self.root.T
        return 0.5 * (x.square() - z.square()).sum(1, keepdim=True) + self.constant


@pytest.mark.equation("distances-nce")
@pytest.mark.parametrize("noise_ratio", [1, 5])
def test_learned_log_z_is_the_known_one(noise_ratio):
    """exp(-x^2/2 - 3) in two dimensions: log Z = log(2 pi) - 3. Noise fitted to wider data, so that it is not the model."""
    x = torch.randn(20_000, 2, generator=seeded())
    model = fresh(2, noise_ratio).initialise(1.5 * x + 0.3)
    model.net = Quadratic(model.noise_mean, model.noise_root, 3.0)
    recipe = Recipe("nce", "normal", "smoke", steps=300, batch_size=500, lr=0.1, schedule="cosine")
    log_z = fit(_Prepared(model), x, recipe, progress=False).model.model.log_z.item()
    assert log_z == pytest.approx(math.log(2 * math.pi) - 3, abs=0.03)


class _Prepared(nn.Module):
    """The model without its `initialise`, which would fit the noise again."""

    def __init__(self, model):
        super().__init__()
        self.model, self.loss = model, model.loss


@pytest.fixture(scope="module")
def bumps():
    """Trained on three bumps of the plane, whose density is known."""
    law = toy2d.GaussianModes("bumps", torch.tensor([[0.0, 1.5], [-1.4, -0.8], [1.4, -0.8]]), std=0.5)
    recipe = Recipe("nce", "bumps", "smoke", steps=400, batch_size=500, lr=2e-2, schedule="cosine")
    return law, fit(fresh(2, 2, 32), law(20_000, seeded()), recipe, progress=False)


@pytest.mark.equation("distances-nce")
def test_learned_energy_normalises_itself_and_is_the_density(bumps):
    law, run = bumps
    axis = torch.linspace(-6, 6, 601)
    with torch.no_grad():
        log_z = (-run.model.energy(torch.cartesian_prod(axis, axis))).logsumexp(0) + 2 * math.log(
            axis[1] - axis[0]
        )
        assert run.model.log_z.item() == pytest.approx(log_z.item(), abs=0.03)
        x = law(20_000, seeded(1))
        kl = (law.log_prob(x) - run.model.log_prob(x)).mean()
        start = (law.log_prob(x) - run.model.noise_log_prob(x)).mean()
    assert abs(kl) < 0.03  # nats
    assert start > 0.5  # what the noise itself was short of
    losses = run.losses["all"]
    assert losses[-50:].mean() < 0.9 * losses[:10].mean()


@pytest.mark.equation("distances-sir", "distances-nce")
def test_samples_are_the_laws(bumps):
    law, run = bumps
    samples = run.model.sample(4000, generator=seeded())
    assert torch.equal(samples[:50], run.model.sample(4000, generator=seeded())[:50])
    nearest = torch.cdist(samples, law.modes).argmin(1)
    shares = torch.bincount(nearest, minlength=3) / len(samples)
    assert (shares - 1 / 3).abs().max() < 0.03
    score = law.log_prob(samples).mean() - law.log_prob(law(4000, seeded(2))).mean()
    assert abs(score) < 0.05
    squared = samples.square().sum(1)  # weights p instead of p/q would pull them to the noise's centre
    exact = law.modes.square().sum(1).mean() + 2 * law.std**2
    assert abs(squared.mean() - exact) < 4 * squared.std() / len(samples) ** 0.5


@pytest.mark.equation("distances-ess")
def test_effective_sample_size_falls_as_the_noise_moves_away(bumps):
    model, sizes = bumps[1].model, []
    for shift in (0.0, 2.0, 4.0, 6.0):
        with torch.no_grad():
            candidates = model.noise(20_000, seeded()) + shift
            log_q = model.noise_log_prob(candidates - shift)
            sizes.append(effective_sample_size(model.log_prob(candidates) - log_q).item() / 20_000)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 0.3
    assert sizes[-1] < 0.05


def test_start_is_the_noise():
    """A zero network makes the energy the noise's own: the best guess of a classifier that knows nothing."""
    x = torch.randn(5000, 3, generator=seeded()) @ torch.tensor(
        [[1.0, 0.5, 0.0], [0.0, 2.0, 0.1], [0.0, 0.0, 0.3]]
    )
    model = fresh(3).initialise(x)
    nn.init.zeros_(model.net[-1].weight)
    nn.init.zeros_(model.net[-1].bias)
    torch.testing.assert_close(model.log_prob(x), model.noise_log_prob(x))
    peer = torch.distributions.MultivariateNormal(x.mean(0), x.T.cov(correction=0))
    torch.testing.assert_close(model.noise_log_prob(x), peer.log_prob(x), rtol=1e-3, atol=1e-3)
    assert model.loss(x).item() == pytest.approx(2 * math.log(2), rel=1e-6)
    drawn = model.noise(100_000, seeded())
    torch.testing.assert_close(drawn.T.cov(), x.T.cov(), rtol=0.05, atol=0.02)


@pytest.mark.equation("distances-nce")
def test_loss_is_the_classifiers_cross_entropy():
    model = fresh(2, 3).initialise(torch.randn(1000, 2, generator=seeded()))
    x = torch.randn(50, 2, generator=seeded(1))
    noise = model.noise(150, seeded(2))

    def posterior(points):
        """Probability of data among data and 3 times as much noise."""
        p = model.log_prob(points).exp()
        return p / (p + 3 * model.noise_log_prob(points).exp())

    by_hand = -posterior(x).log().mean() - 3 * (1 - posterior(noise)).log().mean()
    torch.testing.assert_close(model.loss(x, generator=seeded(2)), by_hand)


def test_contract(tmp_path):
    model = fresh(2, width=8).initialise(torch.randn(100, 2, generator=seeded()))
    model.loss(torch.randn(10, 2), generator=seeded()).backward()
    assert all(p.grad.abs().max() > 0 for p in model.parameters())
    assert model.energy(torch.zeros(5, 2)).shape == (5,)
    assert model.sample(4, generator=seeded()).shape == (4, 2)
    run = training.train(training.recipe("nce", "grid9", "smoke", steps=60), tmp_path, progress=False)
    loaded = models.load("nce_grid9", tmp_path)
    x = toy2d.grid9(20, seeded())
    torch.testing.assert_close(loaded.log_prob(x), run.model.log_prob(x), rtol=1e-2, atol=0.05)


def test_wrong_inputs_are_named():
    with pytest.raises(ValueError, match="singular"):
        fresh(2).initialise(torch.ones(10, 2))
    with pytest.raises(ValueError, match=r"expected shape \(B, 2\)"):
        fresh(2).log_prob(torch.zeros(3, 1))
    with pytest.raises(ValueError, match="NaN"):
        fresh(2).initialise(torch.full((10, 2), torch.nan))
    with pytest.raises(ValueError, match="noise_ratio"):
        fresh(2, 0)
