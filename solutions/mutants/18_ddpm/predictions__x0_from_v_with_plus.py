# answer: predictions
def predictions(xt, t, output, kind, alpha_bar):
    """x0, eps and v, each (B, ...), from xt and a network's output (B, ...) that is the one named kind: "x0", "eps" or "v".

    t (B,) indices, alpha_bar (T,).
    """
    level = alpha_bar[t].view(-1, *[1] * (xt.ndim - 1))
    signal, noise = level.sqrt(), (1 - level).sqrt()
    if kind == "x0":
        x0, eps = output, (xt - signal * output) / noise
    elif kind == "eps":
        x0, eps = (xt - noise * output) / signal, output
    else:
        x0, eps = signal * xt + noise * output, noise * xt + signal * output
    return x0, eps, signal * eps - noise * x0
