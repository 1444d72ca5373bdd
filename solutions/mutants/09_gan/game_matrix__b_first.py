# answer: game_matrix
def game_matrix(P, Q, R, h, alternating):
    """The matrix (n + m, n + m) of one step and its spectral radius: P (n, n), Q (n, m), R (m, m); alternating a bool."""
    n, m = Q.shape
    step_b = torch.cat([h * Q.T, torch.eye(m) - h * R], 1)
    seen = step_b if alternating else torch.eye(n + m)[n:]
    step_a = -h * Q @ seen
    step_a[:, :n] += torch.eye(n) - h * P
    matrix = torch.cat([step_a, step_b])
    return matrix, torch.linalg.eigvals(matrix).abs().max()
