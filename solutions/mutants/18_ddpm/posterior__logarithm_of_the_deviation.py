# answer: posterior
def posterior(x0, xt, t, betas):
    """Mean (B, ...) and log-variance (B,) of q(x_{t-1} | x_t, x_0): x0 and xt (B, ...), t (B,) indices, betas (T,).

    The log-variance at index 0 is that at index 1.
    """
    alpha_bar = (1 - betas).cumprod(0)
    before = torch.cat([torch.ones(1), alpha_bar[:-1]])
    for_x0 = before.sqrt() * betas / (1 - alpha_bar)
    for_xt = (1 - betas).sqrt() * (1 - before) / (1 - alpha_bar)
    variance = betas * (1 - before) / (1 - alpha_bar)
    log_variance = torch.cat([variance[1:2], variance[1:]]).log() / 2
    shape = (-1, *[1] * (x0.ndim - 1))
    mean = for_x0[t].view(shape) * x0 + for_xt[t].view(shape) * xt
    return mean, log_variance[t]
