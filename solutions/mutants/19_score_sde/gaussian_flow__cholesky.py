# answer: gaussian_flow
def gaussian_flow(x, mean, cov, start, end):
    """Where the probability flow of the data law N(mean, cov) brings x (B, d): from `start` to `end`, each (scale, std)."""
    eye = torch.eye(len(mean))
    (scale, std), (new_scale, new_std) = start, end
    before = torch.linalg.cholesky(scale**2 * cov + std**2 * eye)
    after = torch.linalg.cholesky(new_scale**2 * cov + new_std**2 * eye)
    moved = (x - scale * mean) @ (after @ torch.linalg.inv(before)).T
    return new_scale * mean + moved
