# answer: cut_normal
def cut_normal(threshold):
    """Share of a standard normal law within [-threshold, threshold], and its variance there.

    threshold and both results are (n,).
    """
    kept = torch.erf(threshold / math.sqrt(2))
    density = torch.exp(-threshold.square() / 2) / math.sqrt(2 * math.pi)
    return kept, kept - 2 * threshold * density
