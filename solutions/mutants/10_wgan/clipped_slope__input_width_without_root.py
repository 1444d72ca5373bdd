# answer: clipped_slope
def clipped_slope(widths, clip):
    """The largest slope of an MLP of these widths (n_0, ..., n_L) with all weights in [-clip, clip], and the clip at which it is 1."""
    layers = len(widths) - 1
    per_unit = math.prod(widths)
    return clip**layers * per_unit, per_unit ** (-1 / layers)
