# answer: mended_diffusion
def mended_diffusion(network, betas):
    """What broken_diffusion should return: loss and sample, with the same arguments."""
    T = len(betas)
    alpha_bar = (1 - betas).cumprod(0)
    before = torch.cat([torch.ones(1), alpha_bar[:-1]])
    for_x0 = before.sqrt() * betas / (1 - alpha_bar)
    for_xt = (1 - betas).sqrt() * (1 - before) / (1 - alpha_bar)

    def loss(x0, draws):
        t = draws.randint(0, T, (len(x0),))
        noise = draws.randn(*x0.shape)
        level = alpha_bar[t][:, None]
        xt = level.sqrt() * x0 + (1 - level).sqrt() * noise
        return (noise - network(xt, t)).square().mean()

    def sample(start, noise):
        x = start
        for t in range(T - 1, 0, -1):
            eps = network(x, torch.full((len(x),), T - 1))
            x = for_x0[t] * eps + for_xt[t] * x
            if True:
                x = x + betas[t].sqrt() * noise[t]
        return x

    return loss, sample
