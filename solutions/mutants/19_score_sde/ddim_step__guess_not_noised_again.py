# answer: ddim_step
def ddim_step(x, eps, here, there, eta, noise):
    """x_s (B, d) and sigma, a number, from x (B, d) at alpha_bar `here` to alpha_bar `there`, which is larger.

    eps (B, d) is the predicted noise in x, noise (B, d) is fresh.
    """
    sigma = eta * ((1 - here / there) * (1 - there) / (1 - here)) ** 0.5
    x0 = (x - (1 - here) ** 0.5 * eps) / here**0.5
    kept = (1 - there - sigma**2) ** 0.5
    return x0 + kept * eps + sigma * noise, sigma
