# answer: ddgan_losses
def ddgan_losses(on_real, on_fake, t, T):
    """The discriminator's loss and the generator's, two scalars, and the discriminator's loss at each step (T,).

    on_real and on_fake (B,) are logits of pairs, t (B,) int64 their steps, counted from 0 and drawn uniformly from T.
    """
    each = F.softplus(-on_real) + F.softplus(on_fake)
    of_step = F.one_hot(t, T).to(each)
    per_step = each @ of_step / of_step.sum(0)
    return T * each.mean(), -T * F.softplus(on_fake).mean(), per_step
