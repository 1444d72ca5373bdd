# answer: w2_of_gaussians
def w2_of_gaussians(mu_a, A, mu_b, B):
    """The squared 2-Wasserstein distance, a scalar: means (D,), symmetric positive definite covariances (D, D)."""
    values, vectors = torch.linalg.eigh(A)
    root = vectors * values.sqrt() @ vectors.T
    values, vectors = torch.linalg.eigh(B)
    other = vectors * values.sqrt() @ vectors.T
    return (mu_a - mu_b).square().sum() + (root - other).square().sum()
