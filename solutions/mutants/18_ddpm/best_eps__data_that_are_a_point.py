# answer: best_eps
def best_eps(xt, alpha_bar, mean, covariance):
    """E[noise | xt] (B, d) for data N(mean, covariance): xt (B, d), alpha_bar (B,), mean (d,), covariance (d, d)."""
    keep, noise = alpha_bar[:, None], 1 - alpha_bar[:, None]
    spread = keep[:, :, None] * covariance + noise[:, :, None] * torch.eye(len(mean))
    centred = xt - keep.sqrt() * mean
    return centred / noise.sqrt()
