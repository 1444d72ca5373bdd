# answer: negative_elbo
def negative_elbo(x, decoded, log_s, mu, log_var):
    """The loss of a batch in nats, a scalar: x and decoded (B, D), log_s a number, mu and log_var (B, d)."""
    kl = 0.5 * (mu**2 + log_var.exp() - 1 - log_var).sum(1)
    squared_error = ((x - decoded) ** 2).sum(1)
    log_px = -0.5 * squared_error * math.exp(-2 * log_s) - (
        log_s + 0.5 * x.shape[1] * math.log(2 * math.pi)
    )
    return (kl - log_px).mean()
