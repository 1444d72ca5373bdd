# answer: fit_gaussian
def fit_gaussian(x):
    """Maximum-likelihood mean (D,) and covariance (D, D) of images x (N, D)."""
    mean = x.mean(0)
    centred = x - mean
    return mean, centred.T @ centred
