# answer: fid_at_infinity
def fid_at_infinity(sizes, values):
    """Intercept, slope and the intercept's standard error of FID values (n,) over 1 / sizes, sizes (n,)."""
    t = sizes
    spread = (t - t.mean()).square().sum()
    slope = ((t - t.mean()) * (values - values.mean())).sum() / spread
    intercept = values.mean() - slope * t.mean()
    residual = (values - intercept - slope * t).square().sum() / (len(t) - 2)
    error = (residual * (1 / len(t) + t.mean() ** 2 / spread)).sqrt()
    return intercept, slope, error
