# answer: heun_step
def heun_step(x, t, s, score, f, g):
    """One step of Heun for the probability flow, from t to an earlier s: new points (B, d)."""
    first = f(t) * x - 0.5 * g(t) ** 2 * score(x, t)
    ahead = x + (s - t) * first
    second = f(s) * ahead - g(s) ** 2 * score(ahead, s)
    return x + (s - t) * (first + second) / 2
