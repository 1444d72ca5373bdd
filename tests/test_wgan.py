"""Wasserstein GANs: the penalty's oracle, the algorithm's order, what is refused."""

import pytest
import torch
from torch import nn

from course_lib import models
from course_lib.data import toy2d
from course_lib.models.wgan import WGAN, gradient_penalty
from course_lib.training import DivergenceError, Recipe, fit


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def linear_critic(weight):
    return lambda x: x.flatten(1) @ weight


@pytest.mark.equation("wgan-gradient-penalty")
def test_penalty_of_a_linear_critic_is_known():
    weight = draw(12)
    real, fake = draw(7, 3, 2, 2, seed=1), draw(7, 3, 2, 2, seed=2)
    expected = (weight.norm() - 1) ** 2
    assert gradient_penalty(linear_critic(weight), real, fake).item() == pytest.approx(expected.item(), rel=1e-5)
    gentle = 0.5 * weight / weight.norm()
    assert gradient_penalty(linear_critic(gentle), real, fake).item() == pytest.approx(0.25, rel=1e-5)
    assert gradient_penalty(linear_critic(gentle), real, fake, one_sided=True).item() == 0


@pytest.mark.equation("wgan-gradient-penalty")
def test_penalty_takes_the_norm_of_each_sample_at_uniform_mixtures():
    """f(x) = ||x||^2 / 2 has slope ||x||: the mean over u of (||u x|| - 1)^2 is r^2/3 - r + 1 when the fakes are 0."""
    real = 3 * draw(20_000, 2).double()
    real = 2 * real / real.norm(dim=1, keepdim=True)  # every real point at radius 2
    penalty = gradient_penalty(
        lambda x: x.square().sum(1) / 2, real, torch.zeros_like(real), torch.Generator().manual_seed(3)
    )
    assert penalty.item() == pytest.approx(4 / 3 - 2 + 1, abs=4 * 0.3 / 20_000**0.5)


def test_penalty_has_a_gradient_where_the_critic_is_flat():
    weight = torch.zeros(4, requires_grad=True)
    gradient_penalty(linear_critic(weight), draw(5, 4), draw(5, 4, seed=1)).backward()
    assert weight.grad.isfinite().all()


def test_penalised_critic_refuses_batch_norm():
    with pytest.raises(ValueError, match="must not have batch norm"):
        models.build("wgan", norm="batch")
    models.build("wgan", lipschitz="clip", norm="batch")
    with pytest.raises(ValueError, match="expected one of clip, penalty"):
        models.build("wgan", lipschitz="hope")


@pytest.mark.parametrize("lipschitz", ["clip", "penalty", "one_sided", "spectral"])
def test_a_step_is_the_published_algorithm(lipschitz):
    model = models.build("wgan", image_shape=None, latent_dim=3, width=16, lipschitz=lipschitz, n_critic=4)
    phases = list(model.training_step(draw(32, 2), generator=torch.Generator().manual_seed(0)))
    assert [group for group, _ in phases] == ["critic"] * 4 + ["generator"]
    with pytest.raises(ValueError, match="cannot be cut into n_critic=4"):
        next(model.training_step(draw(30, 2)))


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
@pytest.mark.parametrize("lipschitz", ["clip", "penalty", "spectral"])
def test_gradients_reach_every_parameter(shape, lipschitz):
    model = models.build("wgan", image_shape=shape, width=8, latent_dim=5, lipschitz=lipschitz, n_critic=1)
    x = torch.rand(6, *shape, generator=torch.Generator().manual_seed(0))
    groups = {name: list(parameters) for name, parameters in model.parameter_groups().items()}
    for group, loss in model.training_step(x, generator=torch.Generator().manual_seed(1)):
        gradients = torch.autograd.grad(loss, groups[group], allow_unused=True)
        # the critic's last bias shifts both terms alike
        missing = sum(g is None or not g.any() for g in gradients)
        assert missing <= (group == "critic"), group


def test_clipping_happens_after_the_optimiser_has_stepped():
    model = models.build("wgan", image_shape=None, lipschitz="clip", clip=0.02, n_critic=1, latent_dim=2, width=16)
    plan = Recipe("wgan", "ring8", "smoke", steps=3, batch_size=64, optimizer="rmsprop", lr=0.5)
    fit(model, toy2d.ring8(500, torch.Generator().manual_seed(0)), plan, progress=False)
    assert max(p.abs().max().item() for p in model.critic.parameters()) == pytest.approx(0.02)


def test_an_unbounded_critic_stops_with_its_cause():
    model = models.build("wgan", image_shape=None, penalty=0.0, n_critic=1, latent_dim=2, width=32)
    plan = Recipe("wgan", "ring8", "smoke", steps=2000, batch_size=64, lr=0.3)
    data = toy2d.ring8(500, torch.Generator().manual_seed(0))
    with pytest.raises(DivergenceError, match=r"slope ran away .*Raise the weight"):
        fit(model, data, plan, progress=False)


def test_images_and_samples():
    model = models.build("wgan", width=8).eval()
    first, second = (model.sample(4, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (4, 1, 28, 28)
    assert 0 <= first.min() <= first.max() <= 1


def test_custom_critics_of_images_are_checked():
    critic = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
    with pytest.raises(ValueError, match="batch norm"):
        WGAN(nn.Identity(), critic, 3)
