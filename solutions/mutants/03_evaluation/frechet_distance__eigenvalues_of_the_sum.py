# answer: frechet_distance
def frechet_distance(a, b):
    """Squared Fréchet distance, a scalar, between Gaussians fitted to features a (N, d) and b (M, d)."""
    cov_a, cov_b = torch.cov(a.T), torch.cov(b.T)
    eigenvalues = torch.linalg.eigvals(cov_a + cov_b).real.clamp(min=0)
    means = (a.mean(0) - b.mean(0)).square().sum()
    return means + cov_a.trace() + cov_b.trace() - 2 * eigenvalues.sqrt().sum()
