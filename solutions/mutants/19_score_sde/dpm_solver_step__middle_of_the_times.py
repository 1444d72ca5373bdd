# answer: dpm_solver_step
def dpm_solver_step(x, t, s, eps, marginal, time):
    """x_s (B, d) from x (B, d) at t by the midpoint in lambda, two evaluations of eps(x, t), which gives (B, d).

    marginal(t) gives scale and std, numbers; time(lam) is the time at which log(scale / std) is lam.
    """
    scales, stds = zip(*(marginal(u) for u in (t, s)), strict=True)
    start, end = (torch.log(a / b) for a, b in zip(scales, stds, strict=True))
    middle = (t + s) / 2
    scale, std = marginal(middle)
    growth = torch.exp((end - start) / 2)
    growth_there = torch.exp(torch.log(scale / std) - start)
    half = scale / scales[0] * x - std * (growth_there - 1) * eps(x, t)
    return scales[1] / scales[0] * x - stds[1] * (growth**2 - 1) * eps(half, middle)
