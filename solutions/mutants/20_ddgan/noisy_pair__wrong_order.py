# answer: noisy_pair
def noisy_pair(x_0, t, betas, noise, step_noise):
    """x_prev and x_next of a real pair, both like x_0 (B, ...): `noise` leads to the first, `step_noise` from there to the second.

    t (B,) int64 counts from 0; betas (T,).
    """
    before = torch.cat([torch.ones(1), (1 - betas).cumprod(0)])
    shape = (-1, *[1] * (x_0.ndim - 1))
    kept, beta = before[t].view(shape), betas[t].view(shape)
    x_prev = kept.sqrt() * x_0 + (1 - kept).sqrt() * noise
    return (1 - beta).sqrt() * x_prev + beta.sqrt() * step_noise, x_prev
