"""MMD against brute force, closed forms, quadrature, pythae, torchmetrics and torch-fidelity; and its memory."""

import math
import subprocess
import sys

import pytest
import scipy.integrate
import torch

from course_lib.checkpoints import REPOSITORY
from course_lib.metrics import mmd
from course_lib.metrics.mmd import SCALES, mmd2, mmd2_gaussians

kernels = pytest.mark.parametrize("kernel", ["imq", "gaussian", "cubic"])


def samples(n=9, m=6, dim=3, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x, y = (torch.randn(k, dim, generator=generator, dtype=torch.float64) for k in (n, m))
    return x.to(dtype), (0.5 + 1.5 * y).to(dtype)


def brute_force(x, y, kernel, unbiased, scales=SCALES):
    def k(a, b):
        squared, dim = ((a - b) ** 2).sum().item(), len(a)
        constants = [2 * dim * s for s in scales]
        if kernel == "cubic":
            return ((a @ b).item() / dim + 1) ** 3
        return sum(c / (c + squared) if kernel == "imq" else math.exp(-squared / c) for c in constants)

    def mean(a, b, skip):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (skip and i == j)]
        return sum(k(a[i], b[j]) for i, j in pairs) / len(pairs)

    return mean(x, x, unbiased) + mean(y, y, unbiased) - 2 * mean(x, y, False)


@pytest.mark.equation("distances-mmd", "distances-mmd-u", "distances-mmd-v")
@pytest.mark.parametrize("unbiased", [True, False])
@kernels
def test_value_is_the_double_sum(kernel, unbiased):
    x, y = samples()
    expected = brute_force(x, y, kernel, unbiased)
    assert mmd2(x, y, kernel, unbiased=unbiased).item() == pytest.approx(expected, rel=1e-10)
    if kernel != "cubic":
        expected = brute_force(x, y, kernel, unbiased, scales=(0.3, 4))
        assert mmd2(x, y, kernel, (0.3, 4), unbiased).item() == pytest.approx(expected, rel=1e-10)


@kernels
def test_chunks_change_neither_value_nor_gradient(kernel, monkeypatch):
    x, y = (points.requires_grad_() for points in samples(dim=2))
    assert torch.autograd.gradcheck(lambda a, b: mmd2(a, b, kernel), (x, y))
    whole = mmd2(x, y, kernel)
    expected = torch.autograd.grad(whole, (x, y))
    monkeypatch.setattr(mmd, "CHUNK", 25)  # two to four rows a chunk, and a shorter last one
    parts = mmd2(x, y, kernel)
    torch.testing.assert_close(parts, whole)
    for ours, theirs in zip(torch.autograd.grad(parts, (x, y)), expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.equation("distances-mmd-u")
@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_u_statistic_is_pythaes_penalty(kernel):
    from pythae.models.wae_mmd import WAE_MMD, WAE_MMD_Config

    x, y = samples(50, 50, 4)
    with torch.random.fork_rng():
        peer = WAE_MMD(WAE_MMD_Config(input_dim=(1, 2, 2), latent_dim=4, kernel_choice=kernel))
    image = torch.zeros(50, 1, 2, 2)
    expected = peer.loss_function(image, image, x, y)[2]
    ours = mmd2(x, y) if kernel == "imq" else mmd2(x, y, "gaussian", scales=(1.0,))  # theirs has one width
    torch.testing.assert_close(ours, expected, rtol=1e-10, atol=0)


@pytest.mark.equation("distances-mmd-u")
def test_cubic_kernel_is_the_peers_kid():
    from torch_fidelity.metric_kid import kernel_poly
    from torch_fidelity.metric_kid import mmd2 as fidelity
    from torchmetrics.image.kid import poly_mmd

    x, y = samples(80, 80, 16)
    ours = mmd2(x, y, "cubic").item()
    assert ours == pytest.approx(poly_mmd(x, y).item(), rel=1e-10)
    a, b = x.numpy(), y.numpy()
    options = {"kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1}
    matrices = [kernel_poly(*pair, **options) for pair in ((a, a), (a, b), (b, b))]
    assert ours == pytest.approx(fidelity(*matrices), rel=1e-10)
    biased = mmd2(x, y, "cubic", unbiased=False).item()
    assert biased == pytest.approx(fidelity(*matrices, mmd_est="biased"), rel=1e-10)


LAWS = (
    torch.tensor([0.0, 0.0]).double(),
    torch.tensor([[1.0, 0.3], [0.3, 0.5]]).double(),
    torch.tensor([0.4, -0.3]).double(),
    torch.tensor([[0.6, -0.2], [-0.2, 1.4]]).double(),
)


@pytest.mark.equation("distances-mmd", "distances-mmd-u", "distances-mmd-v", "distances-mmd-gaussian")
@pytest.mark.parametrize("kernel", ["imq", "gaussian"])
def test_u_statistic_is_unbiased_and_v_statistic_by_how_much(kernel):
    """Means over 1,500 draws of 8 and 5 points, within three standard errors of the exact values."""
    n, m, scales = 8, 5, (0.2, 1.0)
    mu_a, cov_a, mu_b, cov_b = LAWS
    exact = mmd2_gaussians(*LAWS, kernel, scales).item()

    def overlap(cov):
        """E k(x, x') for x, x' ~ N(mu, cov): two laws infinitely far apart have MMD^2 = the sum of theirs."""
        far = mmd2_gaussians(mu_a, cov, mu_a + 1e8, cov, kernel, scales).item()
        return far / 2

    at_zero = len(scales)  # k(x, x)
    bias = (at_zero - overlap(cov_a)) / n + (at_zero - overlap(cov_b)) / m
    generator = torch.Generator().manual_seed(0)
    roots = [torch.linalg.cholesky(c) for c in (cov_a, cov_b)]
    values = []
    for _ in range(1500):
        x = mu_a + torch.randn(n, 2, generator=generator, dtype=torch.float64) @ roots[0].T
        y = mu_b + torch.randn(m, 2, generator=generator, dtype=torch.float64) @ roots[1].T
        values.append([mmd2(x, y, kernel, scales, unbiased) for unbiased in (True, False)])
    values = torch.tensor(values)
    error = values.std(0) / math.sqrt(len(values))
    assert abs(values[:, 0].mean() - exact) < 3 * error[0]
    assert abs(values[:, 1].mean() - exact - bias) < 3 * error[1]
    assert bias > 30 * error[1]  # so that the check above could have failed
    assert (values[:, 0] < 0).any()
    assert (values[:, 1] >= 0).all()


@pytest.mark.equation("distances-kernel-mixture")
def test_imq_between_gaussians_is_a_direct_integral():
    """No mixture of scales here: E C/(C + d^2) over the density of the difference d, in one dimension."""
    constants = [2 * s for s in SCALES]

    def overlap(mean, var):
        def integrand(d):
            density = math.exp(-((d - mean) ** 2) / (2 * var)) / math.sqrt(2 * math.pi * var)
            return sum(c / (c + d * d) for c in constants) * density

        return scipy.integrate.quad(integrand, -20, 20, points=[0, mean], epsabs=1e-12, limit=400)[0]

    mu_a, var_a, mu_b, var_b = 0.0, 1.0, 0.7, 0.09
    direct = overlap(0.0, 2 * var_a) + overlap(0.0, 2 * var_b) - 2 * overlap(mu_a - mu_b, var_a + var_b)
    mu_a, var_a, mu_b, var_b = torch.tensor([mu_a, var_a, mu_b, var_b], dtype=torch.float64).reshape(4, 1)
    ours = mmd2_gaussians(mu_a, var_a[:, None], mu_b, var_b[:, None])
    assert ours.item() == pytest.approx(direct, abs=1e-10)


@pytest.mark.equation("distances-kernel-mixture")
@pytest.mark.parametrize("scale", [1e-3, 0.1, 10.0, 1e3])
def test_imq_quadrature_is_an_adaptive_one_at_every_scale(scale):
    c = 2 * 2 * scale

    def integrand(t):
        return math.exp(-t) * mmd2_gaussians(*LAWS, "gaussian", (scale / t,)).item()

    adaptive = scipy.integrate.quad(
        integrand, 0, 60, points=[c / 10, c], epsabs=1e-13, epsrel=1e-11, limit=500
    )[0]
    assert mmd2_gaussians(*LAWS, "imq", (scale,)).item() == pytest.approx(adaptive, rel=1e-8, abs=1e-12)


def test_laws_far_from_the_origin_keep_their_digits():
    x, y = samples(200, 200, dtype=torch.float32)
    near = mmd2(x, y)
    far = mmd2(x + 1000, y + 1000)
    assert far.item() == pytest.approx(near.item(), abs=2e-3)  # float32 has 1e-4 left at 1000
    exact = mmd2(x.double(), y.double())
    assert near.item() == pytest.approx(exact.item(), abs=1e-5)


def test_no_tensor_is_larger_than_a_chunk(monkeypatch):
    """Forward and backward, by watching every operation's output."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Largest(TorchDispatchMode):
        seen = 0

        def __torch_dispatch__(self, function, types, arguments=(), options=None):
            out = function(*arguments, **(options or {}))
            tensors = out if isinstance(out, tuple | list) else [out]
            self.seen = max([self.seen, *(t.numel() for t in tensors if isinstance(t, torch.Tensor))])
            return out

    monkeypatch.setattr(mmd, "CHUNK", 4_000)
    x, y = (points.requires_grad_() for points in samples(300, 300, 2))
    with Largest() as watch:
        mmd2(x, y).backward()
    assert 2_000 < watch.seen <= 4_000


@pytest.mark.slow
@pytest.mark.parametrize(("n", "trained"), [(20_000, False), (8_000, True)])
def test_many_points_take_little_memory(n, trained):
    """One n x n matrix would be 1.6 GB (256 MB); what is allowed is 100 MB above the points and the libraries."""
    script = (
        "import resource, torch\n"
        "from course_lib.metrics.mmd import mmd2\n"
        "def run(n):\n"
        "    x, y = torch.randn(2, n, 8)\n"
        f"    value = mmd2(x.requires_grad_({trained}), y, 'gaussian', (1,))\n"
        f"    {trained} and value.backward()\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"print(-run(1_000) + run({n}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY, check=True
    )
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes here
    assert int(done.stdout) * unit < 100e6


def test_wrong_inputs_are_named():
    x, y = samples()
    with pytest.raises(ValueError, match="different dimension"):
        mmd2(x, y[:, :2])
    with pytest.raises(ValueError, match="NaN"):
        mmd2(x, y * torch.nan)
    assert mmd2(
        x.clone().requires_grad_(), y * torch.nan
    ).isnan()  # in training no look that would stop the device
    with pytest.raises(ValueError, match="at least two points"):
        mmd2(x, y[:1])
    assert mmd2(x, y[:1], unbiased=False) > 0
    with pytest.raises(ValueError, match="float points"):
        mmd2(x, torch.zeros(3, 3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="flatten"):
        mmd2(x[:, :, None], y[:, :, None])
    with pytest.raises(ValueError, match="unknown kernel 'rbf'"):
        mmd2(x, y, "rbf")
    for scales in ((), (1.0, 0.0), (-1.0,), (math.nan,)):
        with pytest.raises(ValueError, match="positive and finite"):
            mmd2(x, y, scales=scales)
    with pytest.raises(ValueError, match="cubic kernel has no scales"):
        mmd2(x, y, "cubic", scales=(1.0,))
    with pytest.raises(ValueError, match="'imq' or 'gaussian'"):
        mmd2_gaussians(*LAWS, "cubic")
