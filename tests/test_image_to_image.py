"""Outlines against a loop, the patch's size against autograd, L1 against the median, and the two games."""

import pytest
import torch
from torch import nn

from course_lib import checkpoints, models
from course_lib.data import dataset, edge_pairs, outlines
from course_lib.models.image_to_image import PatchDiscriminator, UNet, receptive_field
from course_lib.training import Recipe, build, fit, load_data, save_run


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def seeded(make, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def small(**options):
    return seeded(lambda: models.build("image_to_image", width=4, noise_dim=3, **options))


# --- pairs -------------------------------------------------------------------------------------------------------------------


def test_outlines_against_a_loop():
    images = (torch.rand(3, 1, 9, 7, generator=rng()) > 0.3).float()
    images[0] = 1  # ink up to the border of the image
    found = outlines(images)
    for n in range(3):
        for r in range(9):
            for c in range(7):
                around = [(r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)]
                paper = any(not (0 <= a < 9 and 0 <= b < 7) or images[n, 0, a, b] == 0 for a, b in around)
                assert found[n, 0, r, c] == float(images[n, 0, r, c] == 1 and paper)


def test_pairs_have_a_gap_of_the_given_size_and_repeat():
    data = dataset("glyphs", n=40)
    pairs = edge_pairs(data, gap=12)
    assert pairs.shape == (2, 28, 28)
    assert torch.equal(pairs.pixels[:, 1:], data.pixels)
    whole = edge_pairs(data, gap=0).x[:, 0]
    torch.testing.assert_close(whole, outlines(data.x)[:, 0])
    rubbed = (whole - pairs.x[:, 0]).clamp(min=0)
    assert torch.equal(pairs.x[:, 0] + rubbed, whole)
    for missing in rubbed[rubbed.sum((1, 2)) > 0]:
        rows, columns = missing.nonzero(as_tuple=True)
        assert rows.max() - rows.min() < 12
        assert columns.max() - columns.min() < 12
    assert torch.equal(edge_pairs(data, gap=12).pixels, pairs.pixels)
    assert not torch.equal(edge_pairs(data, gap=12, seed=1).pixels, pairs.pixels)
    assert torch.equal(load_data("glyphs", n=40, edges=True).pixels, pairs.pixels)
    with pytest.raises(ValueError, match="grey images"):
        edge_pairs(load_data("glyphs", n=4, stack=True))


# --- networks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.equation("style-receptive-field")
@pytest.mark.parametrize(
    ("kernels", "strides"), [((4, 4, 3), (2, 2, 1)), ((3, 5), (1, 3)), ((4, 4, 4, 4), (2, 2, 2, 1))]
)
def test_receptive_field_against_the_gradient(kernels, strides):
    side = 80
    layers = nn.Sequential(
        *(nn.Conv1d(1, 1, k, s, bias=False) for k, s in zip(kernels, strides, strict=True))
    )
    for layer in layers:
        nn.init.ones_(layer.weight)
    x = torch.zeros(1, 1, side, requires_grad=True)
    (slope,) = torch.autograd.grad(layers(x)[0, 0, 0], x)
    assert (slope != 0).sum().item() == receptive_field(kernels, strides)


def test_discriminator_sees_18_pixels_and_both_images():
    network = seeded(lambda: PatchDiscriminator(4))
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [m.kernel_size[0] for m in convolutions] == list(network.KERNELS)
    assert [m.stride[0] for m in convolutions] == list(network.STRIDES)
    assert receptive_field(network.KERNELS, network.STRIDES) == 18
    a, b = (torch.rand(2, 1, 28, 28, generator=rng(s)) for s in (0, 1))
    assert network(a, b).shape == (2, 7, 7)
    assert not torch.allclose(network(a, b), network(b, b))


def test_unet_without_skips_loses_the_place():
    """What a single pixel of the condition does: with joins its own place moves most."""
    torch.manual_seed(0)
    z = torch.zeros(1, 3, 7, 7)
    for skip in (True, False):
        network = seeded(lambda: UNet(4, 3, skip))  # noqa: B023
        assert network(torch.zeros(1, 1, 28, 28), z).shape == (1, 1, 28, 28)
    joined, cut = (seeded(lambda: UNet(4, 3, s)) for s in (True, False))  # noqa: B023
    for name, value in joined.state_dict().items():
        cut.state_dict()[name].copy_(value)
    x = torch.rand(1, 1, 28, 28, generator=rng())
    assert not torch.allclose(joined(x, z), cut(x, z))


@pytest.mark.equation("style-l1-median")
def test_l1_finds_the_median():
    values = torch.tensor([0.0, 0.0, 0.0, 0.2, 0.9, 1.0, 1.0])
    guesses = torch.linspace(0, 1, 1001)
    loss = (values[None] - guesses[:, None]).abs().mean(1)
    assert guesses[loss.argmin()].item() == pytest.approx(values.median().item(), abs=1e-3)
    guess = torch.tensor(0.7, requires_grad=True)
    (values - guess).abs().mean().backward()
    below, above = (values < 0.7).float().mean(), (values > 0.7).float().mean()
    assert guess.grad.item() == pytest.approx((below - above).item())


# --- the game ----------------------------------------------------------------------------------------------------------------


@pytest.mark.equation("style-image-to-image")
def test_losses_are_the_written_ones():
    model = small(l1=7.0, adversarial=0.5)
    x = load_data("glyphs", n=4, edges=True).x
    losses = dict(model.training_step(x, generator=rng(1)))
    condition, target = (2 * x - 1).chunk(2, 1)
    z = torch.randn(4, 3, 7, 7, generator=rng(1))
    fake = model.generator(condition, z)
    bce = nn.functional.binary_cross_entropy_with_logits
    real_logits, fake_logits = model.discriminator(condition, target), model.discriminator(condition, fake)
    one, zero = torch.ones_like(real_logits), torch.zeros_like(real_logits)
    torch.testing.assert_close(losses["discriminator"], bce(real_logits, one) + bce(fake_logits, zero))
    expected = 7 * (fake - target).abs().mean() + 0.5 * bce(fake_logits, one)
    torch.testing.assert_close(losses["generator"], expected)


@pytest.mark.parametrize(("l1", "adversarial"), [(10.0, 1.0), (10.0, 0.0), (0.0, 1.0)])
def test_gradients_reach_every_parameter(l1, adversarial):
    model = small(l1=l1, adversarial=adversarial)
    groups = {name: list(parameters) for name, parameters in model.parameter_groups().items()}
    seen = []
    for group, loss in model.training_step(load_data("glyphs", n=4, edges=True).x, generator=rng(1)):
        seen.append(group)
        gradients = torch.autograd.grad(loss, groups[group], allow_unused=True)
        assert all(g is not None and g.any() for g in gradients), group
    assert seen == list(groups)


def test_it_learns_and_saves(tmp_path):
    options = {"width": 4, "noise_dim": 3, "l1": 10.0}
    plan = Recipe(
        "image_to_image", "glyphs", "smoke", steps=60, batch_size=8, lr=5e-3, model=options, data_options={"edges": True}
    )  # fmt: skip
    data = load_data("glyphs", n=200, edges=True)
    run = fit(build(plan), data, plan, progress=False)
    assert run.losses["generator"][-10:].mean() < 0.7 * run.losses["generator"][:5].mean()
    save_run(run, plan, tmp_path / "image_to_image_glyphs.safetensors", checkpoints.commit())
    again = models.load("image_to_image_glyphs", tmp_path)
    condition = data.x[:5, :1]
    ours, theirs = (m.sample(5, condition, generator=rng()) for m in (run.model, again))
    torch.testing.assert_close(theirs, ours, rtol=0, atol=2e-2)  # half precision on disk
    assert 0 <= ours.min() <= ours.max() <= 1


def test_what_is_refused():
    model = small()
    with pytest.raises(ValueError, match="must hold the conditions"):
        model.sample(3)
    with pytest.raises(ValueError, match="must hold the conditions"):
        model.sample(3, torch.zeros(2, 1, 28, 28))
    with pytest.raises(ValueError, match="expected pairs"):
        next(model.training_step(torch.zeros(2, 1, 28, 28)))
    with pytest.raises(ValueError, match="nothing to descend"):
        small(l1=0.0, adversarial=0.0)


def test_likely_cause_names_what_holds_the_game():
    assert "L1 above 5" in small(l1=5.0).likely_cause({"discriminator_accuracy": 0.99})
    assert "only L1" in small(adversarial=0.0).likely_cause({})
