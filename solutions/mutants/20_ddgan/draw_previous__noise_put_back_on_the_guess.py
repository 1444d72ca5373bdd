# answer: draw_previous
def draw_previous(x_0, x_next, t, betas, noise):
    """x_prev, drawn from the posterior given the guess x_0 and x_next; all (B, ...), points or images.

    t (B,) int64 counts from 0, one step for each item; betas (T,).
    """
    alpha_bar = (1 - betas).cumprod(0)
    before = torch.cat([torch.ones(1), alpha_bar[:-1]])
    shape = (-1, *[1] * (x_0.ndim - 1))
    then = before[t].view(shape)
    mean = then.sqrt() * x_0
    return mean + (1 - then).sqrt() * noise
