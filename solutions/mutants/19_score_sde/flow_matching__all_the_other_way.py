# answer: flow_matching
def flow_matching(velocity, x0, noise, t):
    """The loss, a scalar, and the score, the shape of x0 (B, ...), at the points on the lines at times t (B,).

    velocity(x, t) takes (B, ...) and (B,) and returns the shape of x.
    """
    time = t.reshape(-1, *[1] * (x0.ndim - 1))
    x = time * x0 + (1 - time) * noise
    v = velocity(x, t)
    loss = (v - (x0 - noise)).flatten(1).square().sum(1).mean()
    return loss, -(x + (1 - time) * v) / time
