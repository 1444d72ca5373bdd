# answer: gradient_penalty
def gradient_penalty(critic, real, fake, draws):
    """The two-sided penalty without lambda, a scalar with a graph to the critic's parameters.

    critic: points (B, ...) -> (B,); real and fake (B, ...), as many of each.
    """
    u = draws.rand(len(real), *[1] * (real.ndim - 1))
    mixed = (u * real + (1 - u) * fake).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    norm = (gradient.square().sum() + 1e-12).sqrt()
    return (norm - 1).square().mean()
