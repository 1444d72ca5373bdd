# answer: mended_round
def mended_round(critic, generator, optimisers, real, noise, u, penalty=10.0):
    """What broken_round should do. Raises ValueError for a critic with batch norm."""
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in critic.modules()):
        raise ValueError("a critic with a gradient penalty must not have batch norm")
    critic_optimiser, generator_optimiser = optimisers
    critic_optimiser.zero_grad()
    for x, z, weight in zip(real, noise[:-1], u, strict=True):
        y = generator(z).detach()
        x_hat = (weight[:, None] * x + (1 - weight[:, None]) * y).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(x_hat).sum(), x_hat, create_graph=True)
        excess = (gradient.square().sum(1) + 1e-12).sqrt() - 1
        loss = critic(y).mean() - critic(x).mean() + penalty * excess.square().mean()
        loss.backward()
        critic_optimiser.step()
    loss = -critic(generator(noise[-1])).mean()
    generator_optimiser.zero_grad()
    loss.backward()
    generator_optimiser.step()
