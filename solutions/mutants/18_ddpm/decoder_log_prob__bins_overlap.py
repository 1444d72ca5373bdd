# answer: decoder_log_prob
def decoder_log_prob(x, mean, deviation):
    """Log-probability (B,) in nats of images x (B, ...) on the 256 levels from -1 to 1; mean (B, ...), deviation a number."""
    lower = (x - 2 / 255 - mean) / deviation
    upper = (x + 2 / 255 - mean) / deviation
    lower = torch.where(x < -1 + 1 / 255, -torch.inf, lower)
    upper = torch.where(x > 1 - 1 / 255, torch.inf, upper)
    # the normal law is symmetric: a bin above the mean has the mass of its mirror image, where nothing rounds to 1
    above = lower > 0
    lower, upper = torch.where(above, -upper, lower), torch.where(above, -lower, upper)
    mass = torch.special.erfc(-upper / math.sqrt(2)) - torch.special.erfc(
        -lower / math.sqrt(2)
    )
    return (mass / 2).log().flatten(1).sum(1)
