# answer: directions
def directions(covariance, k):
    """A (D, k), so that x = mean + A z with standard normal z moves along the k strongest directions."""
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * values.sqrt())[:, -k:]
