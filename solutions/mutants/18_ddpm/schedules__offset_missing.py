# answer: schedules
def schedules(T, first=1e-4, last=0.02, offset=0.008, largest=0.999):
    """Betas and alpha_bar of the linear schedule from first to last, then of the cosine schedule: four tensors (T,)."""
    linear = torch.linspace(first, last, T)
    angle = torch.arange(T + 1) / T * math.pi / 2
    f = angle.cos().square()
    cosine = (1 - f[1:] / f[:-1]).clamp(max=largest)
    return linear, (1 - linear).cumprod(0), cosine, (1 - cosine).cumprod(0)
