# answer: log_mass
def log_mass(x, centre, log_scale, levels=256):
    """Log-mass of each pixel's level: x on the grid k / (levels - 1) in [0, 1], all tensors of one shape."""
    half = 0.5 / (levels - 1)
    tau = log_scale.exp()
    upper = torch.sigmoid((x + half - centre) / tau)
    lower = torch.sigmoid((x - half - centre) / tau)
    level = (x * (levels - 1)).round()
    mass = torch.where(
        x < 0.001, upper, torch.where(x > 0.95, 1 - lower, upper - lower)
    )
    return mass.log()
