# answer: iwae_bound
def iwae_bound(log_px, mu, log_var, noise):
    """The importance-weighted bound (B,) in nats: mu and log_var (B, d), noise (k, B, d), log_px a function of codes."""
    k, d = noise.shape[0], noise.shape[2]
    z = mu + (0.5 * log_var).exp() * noise
    log_prior = -0.5 * (z**2).sum(2) - 0.5 * d * math.log(2 * math.pi)
    log_q = (
        -0.5 * (noise**2).sum(2)
        - 0.5 * log_var.sum(1)
        - 0.5 * d * math.log(2 * math.pi)
    )
    log_w = log_px(z) + log_prior - log_q
    return log_w.mean(0)
