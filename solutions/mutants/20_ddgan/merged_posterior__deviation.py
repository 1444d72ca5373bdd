# answer: merged_posterior
def merged_posterior(x_0, x_t, kept_s, kept_t):
    """Mean (like x_0) and variance (a number) of x_s given x_t and x_0, both of the same shape.

    kept_s > kept_t are alpha-bar at s and t, numbers; kept_s = 1 means s = 0.
    """
    alpha = kept_t / kept_s
    of_x_0 = kept_s**0.5 * (1 - alpha) / (1 - kept_t)
    of_x_t = alpha**0.5 * (1 - kept_s) / (1 - kept_t)
    return of_x_0 * x_0 + of_x_t * x_t, (
        (1 - kept_s) * (1 - alpha) / (1 - kept_t)
    ) ** 0.5
