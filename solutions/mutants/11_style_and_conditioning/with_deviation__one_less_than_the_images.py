# answer: with_deviation
def with_deviation(h, n):
    """Features h (B, C, H, W) with one map more, (B, C + 1, H, W): the deviation within groups of n images.

    n divides B.
    """
    groups = h.unflatten(0, (n, -1))  # (n, G, C, H, W)
    deviation = (groups.var(0, correction=1) + 1e-8).sqrt().mean((1, 2, 3))  # (G,)
    added = deviation.repeat(n)[:, None, None, None].expand(-1, 1, *h.shape[2:])
    return torch.cat([h, added], 1)
