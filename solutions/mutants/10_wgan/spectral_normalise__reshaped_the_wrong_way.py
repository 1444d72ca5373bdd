# answer: spectral_normalise
def spectral_normalise(weight, u, steps=1):
    """The weight divided by its largest singular value, estimated from u (n,) by power iteration, and the new u (n,)."""
    matrix = weight.reshape(-1, len(weight)).T
    with torch.no_grad():
        for _ in range(steps):
            v = matrix.T @ u
            v = v / v.norm()
            u = matrix @ v
            u = u / u.norm()
    sigma = u @ matrix @ v
    return weight / sigma, u
