# answer: q_sample
def q_sample(x0, t, noise, alpha_bar):
    """x_t (B, ...): x0 and noise (B, ...), t (B,) indices, alpha_bar (T,)."""
    level = alpha_bar[t]
    return level.sqrt() * x0 + (1 - level).sqrt() * noise
