# answer: mended_sampler
def mended_sampler(network, x, noise, low, high, end):
    """What broken_sampler should do, with the same arguments."""
    n = len(noise)
    times = torch.linspace(1, end, n + 1)
    h = (1 - end) / n
    mean = x
    for t, z in zip(times[:-1], noise, strict=True):
        beta = low + t * (high - low)
        variance = 1 - torch.exp(-low * t - (high - low) * t**2 / 2)
        score = -network(x, t) / variance.sqrt()
        mean = x - h * (-beta / 2 * x - beta / 2 * score)
        x = mean + h * beta.sqrt() * z
    return x
