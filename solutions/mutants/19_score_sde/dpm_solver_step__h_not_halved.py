# answer: dpm_solver_step
def dpm_solver_step(x, t, s, eps, marginal, time):
    """x_s (B, d) from x (B, d) at t by the midpoint in lambda, two evaluations of eps(x, t), which gives (B, d).

    marginal(t) gives scale and std, numbers; time(lam) is the time at which log(scale / std) is lam.
    """
    scales, stds = zip(*(marginal(u) for u in (t, s)), strict=True)
    start, end = (torch.log(a / b) for a, b in zip(scales, stds, strict=True))
    middle = time((start + end) / 2)
    scale, std = marginal(middle)
    growth = torch.exp(end - start)
    half = scale / scales[0] * x - std * (growth - 1) * eps(x, t)
    return scales[1] / scales[0] * x - stds[1] * (growth - 1) * eps(half, middle)
