# answer: sde_marginals
def sde_marginals(kind, t, low, high):
    """Scale and standard deviation, (B,) each, at times t (B,) of the process `kind`: "vp", "sub_vp" or "ve"."""
    if kind == "ve":
        return torch.ones_like(t), ((low + t * (high - low)) ** 2 - low**2).sqrt()
    integral = low * t + (high - low) * t**2 / 2
    left = torch.exp(-integral)
    return left.sqrt(), (1 - left).sqrt() if kind == "vp" else 1 - left
