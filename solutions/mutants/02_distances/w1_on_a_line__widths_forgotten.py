# answer: w1_on_a_line
def w1_on_a_line(x, y):
    """W_1 of two samples on the line, a scalar: x (n,), y (m,), in any order."""
    n, m = len(x), len(y)
    x, y = x.sort().values, y.sort().values
    # In units of 1 / (n m), steps are whole numbers: x has one every m, y one every n.
    cuts = torch.cat([torch.arange(n + 1) * m, torch.arange(m + 1) * n]).unique()
    left = cuts[:-1]
    return (x[left // m] - y[left // n]).abs().mean()
