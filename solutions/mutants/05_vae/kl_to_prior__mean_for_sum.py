# answer: kl_to_prior
def kl_to_prior(mu, log_var):
    """KL(N(mu, diag exp(log_var)) || N(0, I)) in nats, (B,), for mu and log_var (B, d)."""
    return 0.5 * (mu**2 + log_var.exp() - 1 - log_var).mean(1)
