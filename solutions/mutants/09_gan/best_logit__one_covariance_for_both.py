# answer: best_logit
def best_logit(x, mu_p, cov_p, mu_q, cov_q, n, m):
    """Logit of the best discriminator (B,) at points x (B, D), for n real points and m samples in each batch.

    Means (D,), covariances (D, D).
    """

    def log_density(mu, cov):
        shift = x - mu
        squared = (shift * torch.linalg.solve(cov, shift.T).T).sum(1)
        return -0.5 * squared - 0.5 * torch.logdet(cov)

    return math.log(n / m) + log_density(mu_p, cov_p) - log_density(mu_q, cov_p)
