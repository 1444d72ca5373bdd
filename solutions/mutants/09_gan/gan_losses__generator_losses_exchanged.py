# answer: gan_losses
def gan_losses(real, fake):
    """Logits of real points (n,) and of samples (m,) -> discriminator's, saturating and non-saturating loss, scalars."""
    on_real = F.softplus(-real).mean()  # -log D
    on_fake = F.softplus(fake).mean()  # -log(1 - D)
    return on_real + on_fake, F.softplus(-fake).mean(), -on_fake
