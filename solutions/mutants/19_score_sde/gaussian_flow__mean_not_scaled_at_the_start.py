# answer: gaussian_flow
def gaussian_flow(x, mean, cov, start, end):
    """Where the probability flow of the data law N(mean, cov) brings x (B, d): from `start` to `end`, each (scale, std)."""
    variances, axes = torch.linalg.eigh(cov)
    (scale, std), (new_scale, new_std) = start, end
    ratio = (new_scale**2 * variances + new_std**2) / (scale**2 * variances + std**2)
    moved = (x - mean) @ axes * ratio.sqrt() @ axes.T
    return new_scale * mean + moved
