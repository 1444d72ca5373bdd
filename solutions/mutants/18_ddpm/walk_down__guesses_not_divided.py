# answer: walk_down
def walk_down(network, x, level, noise, betas):
    """The image (B, ...) and the guesses of it (level + 1, B, ...) on the way down from x (B, ...) at the index level.

    network: x_t and indices (B,) -> its guess of the noise; noise (T, B, ...); betas (T,).
    """
    alpha_bar = (1 - betas).cumprod(0)
    guesses = []
    for t in range(level, -1, -1):
        eps = network(x, torch.full((len(x),), t))
        guesses.append((x - (1 - alpha_bar[t]).sqrt() * eps) / 1)
        x = (x - betas[t] / (1 - alpha_bar[t]).sqrt() * eps) / (1 - betas[t]).sqrt()
        if t > 0:
            x = x + betas[t].sqrt() * noise[t]
    return x, torch.stack(guesses)
