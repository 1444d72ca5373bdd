# answer: ppca_log_density
def ppca_log_density(x, mean, weight, noise_var):
    """log N(x; mean, weight weight^T + noise_var I) in nats, (N,): x (N, D), mean (D,), weight (D, k), noise_var a number."""
    D, k = weight.shape
    M = weight.T @ weight + noise_var * torch.eye(k)
    centred = x - mean
    code = torch.linalg.solve(M, weight.T @ centred.T).T  # (N, k)
    residual = (centred - code @ weight.T).square().sum(1)
    quadratic = residual + code.square().sum(1)
    log_det = (D - k) * math.log(noise_var) + torch.logdet(M)
    return -0.5 * (D * math.log(2 * math.pi) + log_det + quadratic)
