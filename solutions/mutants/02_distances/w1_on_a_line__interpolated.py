# answer: w1_on_a_line
def w1_on_a_line(x, y):
    """W_1 of two samples on the line, a scalar: x (n,), y (m,), in any order."""
    n, m = len(x), len(y)
    x, y = x.sort().values, y.sort().values
    u = torch.linspace(0, 1, 1001)
    return (x.quantile(u) - y.quantile(u)).abs().mean()
