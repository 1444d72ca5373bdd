# answer: lazy_r1
def lazy_r1(discriminator, x_prev, x_next, t, gamma, iteration, every=1):
    """The penalty of real pairs, a scalar with a graph to the discriminator's weights; 0 at iterations that are left out.

    discriminator: (x_prev, x_next, t) -> logits (B,); x_prev and x_next (B, ...), t (B,). Iterations count from 0.
    """
    if iteration % every:
        return torch.zeros(())
    point = x_prev.detach().requires_grad_()
    logits = discriminator(point, x_next, t)
    (gradient,) = torch.autograd.grad(logits.sum(), point, create_graph=True)
    return every * gamma / 2 * gradient.flatten(1).norm(dim=1).mean()
