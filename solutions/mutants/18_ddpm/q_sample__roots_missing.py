# answer: q_sample
def q_sample(x0, t, noise, alpha_bar):
    """x_t (B, ...): x0 and noise (B, ...), t (B,) indices, alpha_bar (T,)."""
    level = alpha_bar[t].view(-1, *[1] * (x0.ndim - 1))
    return level * x0 + (1 - level) * noise
