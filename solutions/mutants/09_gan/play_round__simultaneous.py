# answer: play_round
def play_round(generator, discriminator, optimizers, real, noise_d, noise_g):
    """One round in place: k steps of the discriminator, then one of the generator.

    generator: noise (B, d) -> samples (B, D); discriminator: (B, D) -> logits (B,). optimizers["generator"] and
    optimizers["discriminator"] step the weights. real (k, B, D) and noise_d (k, B, d) hold the k batches of the
    discriminator, noise_g (B, d) the noise of the generator's step.

    Returns the discriminator's last loss and the generator's loss, each from before the step that it leads to.
    """
    frozen = copy.deepcopy(discriminator)
    for x, z in zip(real, noise_d, strict=True):
        fake = generator(z).detach()
        loss_d = (
            F.softplus(-discriminator(x)).mean()
            + F.softplus(discriminator(fake)).mean()
        )
        optimizers["discriminator"].zero_grad()
        loss_d.backward()
        optimizers["discriminator"].step()
    loss_g = F.softplus(-frozen(generator(noise_g))).mean()
    optimizers["generator"].zero_grad()
    loss_g.backward()
    optimizers["generator"].step()
    return loss_d.detach(), loss_g.detach()
