# answer: guided_eps
def guided_eps(network, xt, t, y, strength, none):
    """The guided guess of the noise (B, ...): xt (B, ...), t and y (B,), strength (B,); `none` is the label that means no label.

    network: x_t, indices (B,) and labels (B,) -> its guess of the noise.
    """
    free = network(xt, t, torch.zeros_like(y))
    strength = strength.view(-1, *[1] * (xt.ndim - 1))
    return free + strength * (network(xt, t, y) - free)
