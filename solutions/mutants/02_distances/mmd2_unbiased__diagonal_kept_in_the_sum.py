# answer: mmd2_unbiased
def mmd2_unbiased(x, y, scales):
    """The unbiased estimate of the squared MMD, a scalar: x (n, D), y (m, D), scales a sequence of numbers."""
    n, m, D = len(x), len(y), x.shape[1]

    def kernel(a, b):
        squared = (a[:, None] - b).square().sum(2)
        return sum(2 * D * s / (2 * D * s + squared) for s in scales)

    within_x = kernel(x, x).sum() / (n * (n - 1))
    within_y = kernel(y, y).sum() / (m * (m - 1))
    return within_x + within_y - 2 * kernel(x, y).mean()
