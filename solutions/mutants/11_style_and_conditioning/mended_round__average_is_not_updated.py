# answer: mended_round
def mended_round(players, optimisers, data, noise, wanted, step, gamma, every, decay):
    """What broken_round should do, with the same arguments."""
    generator, discriminator, average = players
    discriminator_optimiser, generator_optimiser = optimisers
    real, labels = data
    fake = generator(noise[0], wanted[0]).detach()
    loss = (
        F.softplus(-discriminator(real, labels)).mean()
        + F.softplus(discriminator(fake, wanted[0])).mean()
    )
    if step % every == 0:
        points = real.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(
            discriminator(points, labels).sum(), points, create_graph=True
        )
        loss = loss + every * gamma / 2 * gradient.square().sum(1).mean()
    discriminator_optimiser.zero_grad()
    loss.backward()
    discriminator_optimiser.step()

    loss = F.softplus(-discriminator(generator(noise[1], wanted[1]), wanted[1])).mean()
    generator_optimiser.zero_grad()
    loss.backward()
    generator_optimiser.step()

    with torch.no_grad():
        for mean, parameter in zip(
            average.parameters(), generator.parameters(), strict=True
        ):
            mean.lerp(parameter, 1 - decay)
