# answer: log_density
def log_density(x, mean, covariance):
    """log N(x; mean, covariance) in nats, (N,), for images x (N, D)."""
    centred = x - mean
    quadratic = (centred * torch.linalg.solve(covariance, centred.T).T).sum(1)
    return (
        -0.5 * (x.shape[1] * math.log(2 * math.pi) + torch.logdet(covariance))
        - quadratic
    )
