# answer: vp_schedule
def vp_schedule(T, offset=0.0, beta_min=0.1, beta_max=20.0):
    """The betas (T,) and alpha-bars (T,) of the VP process cut into T steps, in the order of the steps from data to noise."""
    time = offset + (1 - offset) * torch.arange(T + 1) / T
    log_kept = -beta_min * time - 0.5 * (beta_max - beta_min) * time**2
    betas = 1 - log_kept[1:].exp()
    return betas, (1 - betas).cumprod(0)
