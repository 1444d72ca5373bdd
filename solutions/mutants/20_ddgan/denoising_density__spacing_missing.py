# answer: denoising_density
def denoising_density(x_s, x_t, x_0, density, kept_s, kept_t):
    """The density q(x_s | x_t) at points x_s (n,), for one number x_t, by sums over a grid.

    density (m,) is q(x_0) on the even grid x_0 (m,), which covers all of it; kept_s > kept_t are alpha-bar at s and t.
    """
    alpha = kept_t / kept_s
    mass = density
    prior = normal(x_s[:, None], kept_s**0.5 * x_0, 1 - kept_s) @ mass
    evidence = normal(x_t, kept_t**0.5 * x_0, 1 - kept_t) @ mass
    return (
        normal(x_t, alpha**0.5 * x_s, 1 - alpha)
        * prior
        / (evidence * (x_0[1] - x_0[0]))
    )
