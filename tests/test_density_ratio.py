"""The learned log-ratio of two Gaussians against the exact one, at equal and at unequal class shares."""

import math

import pytest
import torch
from torch import distributions as D

from course_lib import training
from course_lib.metrics import F_DIVERGENCES
from course_lib.models.density_ratio import DensityRatio, build
from course_lib.training import Recipe, fit
from course_lib.training.loop import TensorData

P = D.MultivariateNormal(torch.tensor([0.0, 0.0]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
Q = D.MultivariateNormal(torch.tensor([1.0, 0.5]), torch.tensor([[1.0, 0.5], [0.5, 1.5]]))


def data(n_p, n_q, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        x = torch.cat([P.sample((n_p,)), Q.sample((n_q,))])
    return TensorData(x, (torch.arange(n_p + n_q) < n_p).long())


def trained(n_p, n_q, share):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = DensityRatio(2, width=32, share=share)
    recipe = Recipe(
        "density_ratio", "gaussians", "smoke", steps=400, batch_size=1024, lr=1e-2, schedule="cosine"
    )
    return fit(model, data(n_p, n_q), recipe, progress=False)


@pytest.mark.equation("distances-ratio")
@pytest.mark.parametrize(("n_p", "n_q"), [(20_000, 20_000), (5_000, 35_000)])
def test_learned_log_ratio_is_the_exact_one_whatever_the_shares(n_p, n_q):
    share = n_p / (n_p + n_q)
    model = trained(n_p, n_q, share).model
    test = data(20_000, 20_000, seed=1)
    exact = P.log_prob(test.x) - Q.log_prob(test.x)
    with torch.no_grad():
        error, probability = model.log_ratio(test.x) - exact, model.probability(test.x)
    # Where one law is e^3 rarer than the other the classifier has hardly seen it: 5 % of the points.
    seen = exact.abs() < 3
    assert seen.float().mean() > 0.9
    assert exact[seen].std() > 1
    assert error[seen].square().mean().sqrt() < 0.1  # nats
    assert abs(error[seen].mean()) < 0.05  # log(share / (1 - share)), if it were left in, is 1.9
    optimal = (
        n_p * P.log_prob(test.x).exp() / (n_p * P.log_prob(test.x).exp() + n_q * Q.log_prob(test.x).exp())
    )
    assert (probability - optimal).abs().mean() < 0.02


@pytest.mark.equation("distances-ratio", "distances-jsd")
def test_loss_falls_to_log_2_minus_the_jsd():
    run = trained(20_000, 20_000, 0.5)
    axis = torch.linspace(-8, 9, 401, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis).float()
    log_p, log_q = (law.log_prob(grid).double().reshape(401, 401) for law in (P, Q))
    jsd = F_DIVERGENCES["jensen_shannon"]
    cell = (axis[1] - axis[0]) ** 2
    exact = jsd.integrand(log_p.exp(), log_q.exp(), log_p - log_q).sum() * cell
    losses = run.losses["all"]
    assert losses[0] > 0.65
    assert losses[-100:].mean() == pytest.approx(math.log(2) - exact.item(), abs=0.01)


def test_log_ratio_does_not_depend_on_the_share_of_an_untrained_model():
    x = torch.randn(10, 2)
    one, other = build(2), build(2, share=0.2)
    other.load_state_dict(one.state_dict())
    torch.testing.assert_close(one.log_ratio(x), other.log_ratio(x))
    odds = [model.probability(x) / (1 - model.probability(x)) for model in (one, other)]
    torch.testing.assert_close(odds[1], odds[0] / 4)


def test_contract():
    model = DensityRatio(3, width=8)
    x, y = torch.randn(6, 3), torch.tensor([0, 1, 1, 0, 1, 0])
    assert model.log_ratio(x).shape == (6,)
    model.loss(x, y).backward()
    assert all(p.grad.abs().max() > 0 for p in model.parameters())
    by_hand = torch.where(y == 1, -model.probability(x).log(), -(1 - model.probability(x)).log()).mean()
    torch.testing.assert_close(model.loss(x, y), by_hand)


def test_recipe_trains(tmp_path):
    recipe = training.recipe("density_ratio", "two_moons", "smoke", steps=50)
    run = training.train(recipe, tmp_path, progress=False)
    assert run.losses["all"][-10:].mean() < 0.9 * run.losses["all"][0]
    labels = training.load_data("two_moons", against="pinwheel", n=30).y
    assert labels.tolist() == [1] * 30 + [0] * 30


def test_wrong_inputs_are_named():
    model = DensityRatio(2)
    for share in (0.0, 1.0):
        with pytest.raises(ValueError, match=r"share must lie in \(0, 1\)"):
            DensityRatio(2, share=share)
    with pytest.raises(ValueError, match="expected labels"):
        model.loss(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="expected labels"):
        model.loss(torch.zeros(3, 2), torch.zeros(2))
    with pytest.raises(ValueError, match=r"expected shape \(B, 2\)"):
        model.log_ratio(torch.zeros(3, 4))
