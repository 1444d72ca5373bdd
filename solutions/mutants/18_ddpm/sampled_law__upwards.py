# answer: sampled_law
def sampled_law(betas, mean, variance, posterior=False):
    """Mean and variance of the sampler's output for data N(mean, variance), two scalars; betas (T,).

    sigma_t^2 is beta_t, or the posterior variance where `posterior` is true. The start is N(0, 1).
    """
    alpha_bar = (1 - betas).cumprod(0)
    before = torch.cat([torch.ones(1), alpha_bar[:-1]])
    noise = betas * (1 - before) / (1 - alpha_bar) if posterior else betas
    m, v = torch.zeros(()), torch.ones(())
    for t in range(len(betas)):
        # E[noise | x] / sqrt(1 - alpha_bar) is (x - sqrt(alpha_bar) mean) / spread
        spread = alpha_bar[t] * variance + 1 - alpha_bar[t]
        pull = betas[t] / spread
        m = m - pull * (m - alpha_bar[t].sqrt() * mean)
        v = (1 - pull) ** 2 * v
        m, v = m / (1 - betas[t]).sqrt(), v / (1 - betas[t])
        if t > 0:
            v = v + noise[t]
    return m, v
