# answer: truncation_price
def truncation_price(a, b, psi):
    """Fréchet distance between N(0, a a') and the law of b (psi z), and the psi at which it is least.

    a and b are (d, d), psi is a number.
    """
    # The eigenvalues of a a' b b' are those of (a' b)(a' b)', the squared singular values of a' b.
    cross = torch.linalg.svdvals(a.T @ b).sum()
    spread = b.square().sum()
    return (
        a.square().sum() + psi**2 * spread - 2 * psi * cross,
        cross / a.square().sum(),
    )
