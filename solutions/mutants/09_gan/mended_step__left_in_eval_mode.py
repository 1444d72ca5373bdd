# answer: mended_step
def mended_step(generator, discriminator, images, noise, codes):
    """What broken_step should return.

    Images (B, 1, 4, 4) in [0, 1], noise (B, 3), codes (M, 3) -> loss_d, loss_g, preview (M, 1, 4, 4) in [0, 1].
    """
    generator.eval()
    with torch.no_grad():
        preview = (generator(codes) + 1) / 2

    samples = generator(noise)
    logits = discriminator(torch.cat([2 * images - 1, samples.detach()])).squeeze(1)
    labels = torch.cat([torch.ones(len(images)), torch.zeros(len(samples))])
    loss_d = 2 * (F.softplus(logits) - labels * logits).mean()
    loss_g = F.softplus(-discriminator(samples)).mean()
    return loss_d, loss_g, preview
