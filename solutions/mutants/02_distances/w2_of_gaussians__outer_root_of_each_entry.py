# answer: w2_of_gaussians
def w2_of_gaussians(mu_a, A, mu_b, B):
    """The squared 2-Wasserstein distance, a scalar: means (D,), symmetric positive definite covariances (D, D)."""
    values, vectors = torch.linalg.eigh(A)
    root = vectors * values.sqrt() @ vectors.T
    # The trace of a root is the sum of the roots of the eigenvalues.
    trace_of_root = (root @ B @ root).sqrt().trace()
    return (mu_a - mu_b).square().sum() + A.trace() + B.trace() - 2 * trace_of_root
