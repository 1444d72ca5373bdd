# answer: largest_step
def largest_step(jacobian):
    """The step size below which simultaneous steps come home, a number; 0 if there is none. jacobian (k, k)."""
    # |1 + h lambda|^2 = 1 + 2 h Re lambda + h^2 |lambda|^2 is below 1 for h < -2 Re lambda / |lambda|^2.
    values = torch.linalg.eigvals(jacobian)
    return (-2 * values.real / values.abs().square()).max().clamp(min=0)
