# answer: reverse_step
def reverse_step(network, xt, t, noise, betas, posterior=False, clip=False):
    """x_{t-1} (B, ...) from xt (B, ...) at the index t, a number; noise (B, ...); betas (T,).

    network: x_t and indices (B,) -> its guess of the noise. sigma_t^2 is beta_t, or the posterior variance where `posterior` is true.
    """
    alpha_bar = (1 - betas).cumprod(0)
    here, beta = alpha_bar[t], betas[t]
    before = alpha_bar[t - 1] if t > 0 else torch.ones(())
    eps = network(xt, torch.full((len(xt),), t))
    x0 = (xt - (1 - here).sqrt() * eps) / here.sqrt()
    if clip:
        x0 = x0.clamp(-1, 1)
    for_x0 = before.sqrt() * beta / (1 - here)
    for_xt = (1 - beta).sqrt() * (1 - before) / (1 - here)
    mean = for_x0 * x0 + for_xt * xt
    if t == 0:
        return mean
    variance = beta * (1 - before) / (1 - here) if not posterior else beta
    return mean + variance.sqrt() * noise
