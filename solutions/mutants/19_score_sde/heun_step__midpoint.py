# answer: heun_step
def heun_step(x, t, s, score, f, g):
    """One step of Heun for the probability flow, from t to an earlier s: new points (B, d)."""
    first = f(t) * x - 0.5 * g(t) ** 2 * score(x, t)
    middle = (s + t) / 2
    ahead = x + (s - t) / 2 * first
    second = f(middle) * ahead - 0.5 * g(middle) ** 2 * score(ahead, middle)
    return x + (s - t) * second
