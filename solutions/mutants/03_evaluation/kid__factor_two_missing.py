# answer: kid
def kid(a, b, block):
    """The KID and its standard error, two scalars, for features a and b (N, d), N a multiple of `block`."""
    d, m = a.shape[1], block

    def kernel(x, y):
        return (x @ y.mT / d + 1) ** 3  # (blocks, m, m)

    def within(k):
        return (k.sum((1, 2)) - k.diagonal(dim1=1, dim2=2).sum(1)) / (m * (m - 1))

    a, b = a.reshape(-1, m, d), b.reshape(-1, m, d)
    across = kernel(a, b).mean((1, 2))
    estimates = within(kernel(a, a)) + within(kernel(b, b)) - across  # (blocks,)
    return estimates.mean(), estimates.std() / len(estimates) ** 0.5
