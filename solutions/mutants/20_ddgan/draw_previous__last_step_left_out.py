# answer: draw_previous
def draw_previous(x_0, x_next, t, betas, noise):
    """x_prev, drawn from the posterior given the guess x_0 and x_next; all (B, ...), points or images.

    t (B,) int64 counts from 0, one step for each item; betas (T,).
    """
    alpha_bar = (1 - betas).cumprod(0)
    before = torch.cat([torch.ones(1), alpha_bar[:-1]])
    shape = (-1, *[1] * (x_0.ndim - 1))
    beta, now, then = (table[t].view(shape) for table in (betas, alpha_bar, before))
    mean = then.sqrt() * beta * x_0 + (1 - beta).sqrt() * (1 - then) * x_next
    mean = torch.where(t.view(shape) == 0, x_next * (1 - now), mean)
    return mean / (1 - now) + (beta * (1 - then) / (1 - now)).sqrt() * noise
