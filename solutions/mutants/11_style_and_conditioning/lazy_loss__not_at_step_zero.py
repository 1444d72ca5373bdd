# answer: lazy_loss
def lazy_loss(discriminator, real, fake, step, gamma, every):
    """The discriminator's loss at a step, a scalar with a graph to its weights.

    discriminator: images (B, ...) -> logits (B,); real and fake (B, ...); gamma a number, every the interval k.
    """
    loss = (
        F.softplus(-discriminator(real)).mean() + F.softplus(discriminator(fake)).mean()
    )
    if step and step % every == 0:
        points = real.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(
            discriminator(points).sum(), points, create_graph=True
        )
        loss = loss + every * gamma / 2 * gradient.flatten(1).square().sum(1).mean()
    return loss
