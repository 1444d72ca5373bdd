# answer: corrector_step
def corrector_step(x, t, score, noise, ratio):
    """x (B, ...) after one Langevin step at time t, with the step size of the signal-to-noise ratio `ratio`."""
    gradient = score(x, t)
    length = (
        noise.flatten(1).norm(dim=1).mean() / gradient.flatten(1).norm(dim=1).mean()
    )
    size = 2 * (ratio * length) ** 2
    return x + size * gradient + 2 * size * noise
