# answer: transport_lp
def transport_lp(cost, a, b):
    """Costs (n, m), masses a (n,) and b (m,) -> c (n m,), M (n + m, n m), h (n + m,) for the plan row by row."""
    n, m = cost.shape
    leaves_x = torch.kron(torch.eye(n), torch.ones(1, m))  # row i adds up plan[i, :]
    enters_y = torch.kron(torch.ones(1, n), torch.eye(m))  # row j adds up plan[:, j]
    return cost.T.flatten(), torch.cat([leaves_x, enters_y]), torch.cat([a, b])
