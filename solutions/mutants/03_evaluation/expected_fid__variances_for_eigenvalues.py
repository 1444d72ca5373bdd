# answer: expected_fid
def expected_fid(covariance, n, m):
    """Mean FID, to first order, between n and m features of one Gaussian: covariance (d, d), m may be math.inf."""
    values = covariance.diagonal()
    pairs = values[:, None] * values / (values[:, None] + values)
    return 0.5 * (1 / n + 1 / m) * (2.5 * values.sum() + pairs.sum())
