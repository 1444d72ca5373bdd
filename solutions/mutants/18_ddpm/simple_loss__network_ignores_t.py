# answer: simple_loss
def simple_loss(network, x0, alpha_bar, draws):
    """The simple loss, a scalar with a graph to the network's weights.

    network: x_t (B, ...) and indices t (B,) -> its guess of the noise (B, ...); x0 (B, ...); alpha_bar (T,).
    """
    t = draws.randint(0, len(alpha_bar), (len(x0),))
    noise = draws.randn(*x0.shape)
    level = alpha_bar[t].view(-1, *[1] * (x0.ndim - 1))
    xt = level.sqrt() * x0 + (1 - level).sqrt() * noise
    return (noise - network(xt, torch.zeros_like(t))).square().mean()
