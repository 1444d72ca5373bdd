# answer: kl_of_gaussians
def kl_of_gaussians(mu_a, A, mu_b, B):
    """KL(N(mu_a, A) || N(mu_b, B)) in nats, a scalar: means (D,), covariances (D, D)."""
    shift = mu_b - mu_a
    trace = torch.linalg.solve(B, A).trace()
    quadratic = shift @ torch.linalg.solve(B, shift)
    log_ratio = torch.logdet(A) - torch.logdet(B)
    return 0.5 * (trace + quadratic - len(mu_a) + log_ratio)
