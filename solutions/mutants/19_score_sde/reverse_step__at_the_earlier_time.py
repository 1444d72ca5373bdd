# answer: reverse_step
def reverse_step(x, t, s, score, f, g, noise):
    """One step of the reverse SDE from t to an earlier s: the new points and the same without noise, (B, d) each.

    score(x, t) gives (B, d); f(t) and g(t) are numbers; noise (B, d) is standard normal.
    """
    drift = f(s) * x - g(s) ** 2 * score(x, s)
    mean = x - (t - s) * drift
    return mean + g(t) * (t - s) ** 0.5 * noise, mean
