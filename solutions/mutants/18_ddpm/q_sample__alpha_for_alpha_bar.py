# answer: q_sample
def q_sample(x0, t, noise, alpha_bar):
    """x_t (B, ...): x0 and noise (B, ...), t (B,) indices, alpha_bar (T,)."""
    level = (alpha_bar / torch.cat([torch.ones(1), alpha_bar[:-1]]))[t].view(
        -1, *[1] * (x0.ndim - 1)
    )
    return level.sqrt() * x0 + (1 - level).sqrt() * noise
