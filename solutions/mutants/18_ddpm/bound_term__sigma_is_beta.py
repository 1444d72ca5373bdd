# answer: bound_term
def bound_term(noise, guess, t, betas, variances):
    """L_{t-1} in nats (B,) and the weight w_t (B,): noise and guess (B, ...), indices t (B,) of at least 1.

    betas (T,) and the sampler's variances sigma_t^2 (T,).
    """
    alpha_bar = (1 - betas).cumprod(0)
    before, here, beta, sigma2 = alpha_bar[t - 1], alpha_bar[t], betas[t], betas[t]
    ratio = beta * (1 - before) / (1 - here) / sigma2
    weight = beta.square() / (2 * sigma2 * (1 - beta) * (1 - here))
    constant = 0.5 * noise[0].numel() * (ratio - 1 - ratio.log())
    return constant + weight * (noise - guess).square().flatten(1).sum(1), weight
