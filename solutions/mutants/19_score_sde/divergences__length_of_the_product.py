# answer: divergences
def divergences(velocity, x, probes):
    """The divergence at x (B, d), exact and by Hutchinson's estimate with probes (k, B, d): (B,) each.

    velocity: (B, d) -> (B, d), row by row.
    """
    x = x.detach().requires_grad_()
    value = velocity(x)

    def pulled(direction):
        return torch.autograd.grad(value, x, direction, retain_graph=True)[0]

    units = torch.eye(x.shape[1])[:, None].expand(-1, len(x), -1)
    exact = sum((pulled(e) * e).sum(1) for e in units)
    estimates = torch.stack([pulled(e).norm(dim=1) for e in probes])
    return exact, estimates.mean(0)
