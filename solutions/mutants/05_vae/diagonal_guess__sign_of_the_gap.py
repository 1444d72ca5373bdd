# answer: diagonal_guess
def diagonal_guess(W, s):
    """The best variances (d,) of a diagonal guess, and the gap log p(x) - ELBO in nats (a scalar), for W (D, d)."""
    M = W.T @ W + s**2 * torch.eye(W.shape[1])
    return s**2 / M.diagonal(), 0.5 * (torch.logdet(M) - M.diagonal().log().sum())
