# answer: learned_variance
def learned_variance(output, t, betas):
    """The guess of the noise and log sigma_t^2, both (B, C, H, W), from a network's output (B, 2 C, H, W); t (B,); betas (T,)."""
    eps, free = output.chunk(2, 1)
    alpha_bar = (1 - betas).cumprod(0)
    tilde = betas[1:] * (1 - alpha_bar[:-1]) / (1 - alpha_bar[1:])
    low = torch.cat([tilde[:1], tilde]).log()[t].view(-1, 1, 1, 1)
    high = betas.log()[t].view(-1, 1, 1, 1)
    share = ((free + 1) / 2).clamp(0, 1)
    return eps, share * high + (1 - share) * low
