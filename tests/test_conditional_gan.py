"""The projection discriminator against Bayes' rule, and the game on pairs against a plain loop."""

import pytest
import torch
from torch import nn

from course_lib import checkpoints, models
from course_lib.data import dataset
from course_lib.models.conditional_gan import ProjectionDiscriminator
from course_lib.training import Recipe, build, fit, recipe, save_run


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=rng(seed))


def seeded(make, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


class Points(nn.Module):
    """phi(x) = x."""

    def __init__(self, dim):
        super().__init__()
        self.head = nn.Linear(dim, 1)

    def features(self, x):
        return x


def small(**options):
    return seeded(lambda: models.build("conditional_gan", width=4, latent_dim=5, label_dim=3, **options))


@pytest.mark.equation("style-projection")
def test_projection_holds_the_best_logit_of_gaussian_classes():
    """p(x|y) = N(m_y, I), q(x|y) = N(n_y, I): the log ratio is v_y . x + c_y, exactly."""
    m, n = draw(3, 4), draw(3, 4, seed=1)
    model = ProjectionDiscriminator(Points(4), 3)
    with torch.no_grad():
        model.body.head.weight.zero_()
        model.body.head.bias.zero_()
        model.project.weight.copy_(m - n)
        model.offset.weight.copy_(-0.5 * (m.square().sum(1) - n.square().sum(1)).unsqueeze(1))
    x, y = draw(50, 4, seed=2), torch.arange(50) % 3
    p, q = (torch.distributions.MultivariateNormal(mean[y], torch.eye(4)) for mean in (m, n))
    torch.testing.assert_close(model(x, y), p.log_prob(x) - q.log_prob(x), rtol=1e-4, atol=1e-4)


@pytest.mark.equation("style-projection", "style-conditional-value")
def test_trained_projection_finds_the_log_ratio():
    """Learned on draws of two laws that differ by class alone; the features' own term must come out near zero."""
    m = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    y = torch.randint(2, (8_000,), generator=rng())
    real, fake = draw(8_000, 2, seed=1) + m[y], draw(8_000, 2, seed=2)
    model = seeded(lambda: ProjectionDiscriminator(Points(2), 2))
    optimiser = torch.optim.Adam(model.parameters(), 0.05)
    for _ in range(300):
        loss = nn.functional.softplus(-model(real, y)).mean() + nn.functional.softplus(model(fake, y)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    exact = (real * m[y]).sum(1) - 0.5
    assert (model(real, y) - exact).abs().mean().item() < 0.15


@pytest.mark.equation("style-conditional-value")
def test_training_equals_a_plain_pytorch_loop():
    plan = Recipe("conditional_gan", "glyphs", "smoke", steps=2, batch_size=6, lr=0.01, optimizer="sgd")
    data = dataset("glyphs", n=30)
    ours = fit(small(), data, plan, progress=False).model

    from course_lib.training.loop import batch_indices, derived_seed

    peer = small().train()
    drawing = [*peer.generator.parameters(), *peer.embed.parameters()]
    steppers = [torch.optim.SGD(peer.discriminator.parameters(), 0.01), torch.optim.SGD(drawing, 0.01)]
    bce = nn.functional.binary_cross_entropy_with_logits
    for step in range(2):
        noise = rng(derived_seed(0, step, 0))
        x, y = data.__getitems__(batch_indices(30, 6, step, 0).tolist())
        x = 2 * x - 1
        fake = peer.generator(torch.cat([torch.randn(6, 5, generator=noise), peer.embed(y)], 1)).detach()
        real_logits, fake_logits = peer.discriminator(x, y), peer.discriminator(fake, y)
        loss = bce(real_logits, torch.ones(6)) + bce(fake_logits, torch.zeros(6))
        steppers[0].zero_grad()
        loss.backward()
        steppers[0].step()
        fake = peer.generator(torch.cat([torch.randn(6, 5, generator=noise), peer.embed(y)], 1))
        loss = bce(peer.discriminator(fake, y), torch.ones(6))
        steppers[1].zero_grad()
        loss.backward()
        steppers[1].step()
    for name, value in peer.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-3, atol=1e-5, msg=name)


def test_gradients_reach_every_parameter_and_the_label_is_optional():
    x, y = torch.rand(6, 1, 28, 28, generator=rng()), torch.arange(6)
    for projection in (True, False):
        model = small(projection=projection)
        groups = {name: list(parameters) for name, parameters in model.parameter_groups().items()}
        for group, loss in model.training_step(x, y, generator=rng(1)):
            gradients = torch.autograd.grad(loss, groups[group], allow_unused=True)
            assert all(g is not None for g in gradients), group
        other = (y + 1) % 10
        same = torch.equal(model.discriminator.eval()(x, y), model.discriminator(x, other))
        assert same != projection


def test_samples_follow_labels_and_seed():
    model = small().eval()
    y = torch.arange(4)
    first, second = (model.sample(4, y, generator=rng(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (4, 1, 28, 28)
    assert 0 <= first.min() <= first.max() <= 1
    assert not torch.equal(first, model.sample(4, y + 1, generator=rng(5)))
    assert model.sample(3, generator=rng()).shape == (3, 1, 28, 28)
    for wrong in (torch.tensor([0, 1, 2, 10]), torch.zeros(4), torch.zeros(3, dtype=torch.int64)):
        with pytest.raises(ValueError, match=r"labels must be int64 \(4,\) in 0..9"):
            model.sample(4, wrong)


def test_a_saved_model_draws_the_same(tmp_path):
    options = {"width": 4, "latent_dim": 5, "label_dim": 3}
    plan = Recipe("conditional_gan", "glyphs", "smoke", steps=2, batch_size=8, model=options)
    run = fit(build(plan), dataset("glyphs", n=50), plan, progress=False)
    save_run(run, plan, tmp_path / "conditional_gan_glyphs.safetensors", checkpoints.commit())
    again = models.load("conditional_gan_glyphs", tmp_path)
    ours, theirs = (m.sample(4, generator=rng()) for m in (run.model, again))
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-2)  # half precision on disk


def test_recipes_build():
    for data in ("glyphs", "mnist", "fashion_mnist"):
        assert recipe("conditional_gan", data, "laptop").steps > 0


@pytest.mark.parametrize(
    ("accuracy", "cause"), [(0.99, "has won"), (0.5, "has lost"), (0.8, "both learning rates")]
)
def test_likely_cause_is_read_off_the_discriminator(accuracy, cause):
    assert cause in small().likely_cause({"discriminator_accuracy": accuracy})
