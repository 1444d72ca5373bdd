# answer: bits_per_dim
def bits_per_dim(log_density, x, noise, levels=256):
    """Bits per dimension (B,) of images x (B, D) on the grid v / (levels - 1).

    noise (B, D) is uniform on [0, 1); log_density takes points (B, D) of [0, 1]^D and returns nats (B,).
    """
    level = (x * (levels - 1)).round()
    log_p = log_density((level + noise) / (levels - 1))
    return (math.log(levels) - log_p / x.shape[1]) / math.log(2)
