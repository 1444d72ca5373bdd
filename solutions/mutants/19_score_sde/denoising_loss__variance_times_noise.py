# answer: denoising_loss
def denoising_loss(score, x0, t, noise, marginal, weight):
    """The mean loss, a scalar. x0 and noise (B, ...); t and weight (B,); marginal(t) gives scale and std, (B,) each.

    score(x, t) takes (B, ...) and (B,) and returns the shape of x.
    """
    scale, std = (m.reshape(-1, *[1] * (x0.ndim - 1)) for m in marginal(t))
    error = score(scale * x0 + std**2 * noise, t) + noise / std
    return (weight * error.flatten(1).square().sum(1)).mean()
