# answer: reverse_step
def reverse_step(x, t, s, score, f, g, noise):
    """One step of the reverse SDE from t to an earlier s: the new points and the same without noise, (B, d) each.

    score(x, t) gives (B, d); f(t) and g(t) are numbers; noise (B, d) is standard normal.
    """
    drift = -f(t) * x - g(t) ** 2 * score(x, t)
    mean = x - (t - s) * drift
    return mean + g(t) * (t - s) ** 0.5 * noise, mean
