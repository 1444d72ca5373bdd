# answer: merged_posterior
def merged_posterior(x_0, x_t, kept_s, kept_t):
    """Mean (like x_0) and variance (a number) of x_s given x_t and x_0, both of the same shape.

    kept_s > kept_t are alpha-bar at s and t, numbers; kept_s = 1 means s = 0.
    """
    alpha = kept_t / kept_s
    precision = kept_t / kept_s / (1 - alpha) + 1 / (1 - kept_s)
    return (
        kept_s**0.5 * x_0 / (1 - kept_s) + alpha**0.5 * x_t / (1 - alpha)
    ) / precision, 1 / precision
