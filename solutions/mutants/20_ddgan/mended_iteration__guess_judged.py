# answer: mended_iteration
def mended_iteration(
    generator, discriminator, optimisers, x_0, t, steps, z, noises, gamma
):
    """What broken_iteration should do, with the same arguments."""
    discriminator_optimiser, generator_optimiser = optimisers
    now = Steps(*(table[t][:, None] for table in steps))
    x_prev = now.signal * x_0 + now.spread * noises[0]
    x_next = now.shrink * x_prev + now.step * noises[1]
    guess = generator(x_next, t, z)
    fake = now.of_guess * guess + now.of_next * x_next + now.deviation * noises[2]

    x_prev.requires_grad_()
    on_real = discriminator(x_prev, x_next, t)
    (gradient,) = torch.autograd.grad(on_real.sum(), x_prev, create_graph=True)
    penalty = gamma / 2 * gradient.square().sum(1).mean()
    on_fake = discriminator(fake.detach(), x_next, t)
    loss = F.softplus(-on_real).mean() + F.softplus(on_fake).mean() + penalty
    discriminator_optimiser.zero_grad()
    loss.backward()
    discriminator_optimiser.step()

    loss = F.softplus(-discriminator(guess, x_next, t)).mean()
    generator_optimiser.zero_grad()
    loss.backward()
    generator_optimiser.step()
