# answer: wgan_losses
def wgan_losses(on_real, on_fake, slopes, penalty, one_sided=False):
    """Critic's loss, generator's loss, estimate of W_1: three scalars.

    on_real (n,) and on_fake (m,) are the critic's values, slopes (k,) the norms of its gradient; penalty is lambda.
    """
    estimate = on_real.mean() - on_fake.mean()
    excess = slopes - 1
    return penalty * excess.square().mean() - estimate, -on_fake.mean(), estimate
