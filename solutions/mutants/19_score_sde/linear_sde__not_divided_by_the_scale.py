# answer: linear_sde
def linear_sde(marginal, t):
    """f and g, (B,) each, of the SDE dx = f x dt + g dw whose scale and std, (B,) each, are marginal(t)."""
    t = t.detach().requires_grad_()
    scale, std = marginal(t)
    (f,) = torch.autograd.grad(scale.sum(), t, retain_graph=True)
    (growth,) = torch.autograd.grad(std.square().sum(), t)
    return f, (growth - 2 * f * std.detach() ** 2).sqrt()
