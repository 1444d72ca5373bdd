# answer: game_matrix
def game_matrix(P, Q, R, h, alternating):
    """The matrix (n + m, n + m) of one step and its spectral radius: P (n, n), Q (n, m), R (m, m); alternating a bool."""
    n, m = Q.shape
    step_a = torch.cat([torch.eye(n) - h * P, -h * Q], 1)
    seen = step_a if alternating else torch.eye(n, n + m)  # the a that b answers
    step_b = h * Q.T @ seen
    step_b[:, n:] += torch.eye(m) - h * R
    matrix = torch.cat([step_a, step_b])
    return matrix, torch.linalg.eigvals(matrix).real.max()
