# answer: best_projection
def best_projection(x, m, sigma, n, lam):
    """The parts of the best logit: v (K, d), c (K,), and psi (B,) at the points x (B, d).

    m and n (K, d) are the classes' means in the data and in the samples, sigma and lam (d, d) the covariances.
    """
    from_p, from_q = (
        torch.linalg.solve(sigma, m.T).T,
        torch.linalg.solve(lam, n.T).T,
    )  # (K, d)
    offsets = (
        (from_q * n).sum(1)
        - (from_p * m).sum(1)
        + torch.logdet(lam)
        - torch.logdet(sigma)
    ) / 2
    squares = [(x * torch.linalg.solve(cov, x.T).T).sum(1) for cov in (lam, sigma)]
    head = (squares[0] - squares[1]) / 2
    return from_p - from_q, offsets, head
