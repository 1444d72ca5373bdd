# answer: flow_log_prob
def flow_log_prob(x, times, velocity, divergence):
    """log p_0(x) in nats, (B,), of points x (B, d): Heun along the increasing times, then N(0, I).

    velocity(x, t) gives (B, d), divergence(x, t) gives (B,).
    """
    integral = 0.0
    for now, then in itertools.pairwise(times):
        h = then - now
        first = velocity(x, now)
        ahead = x + h * first
        integral = integral + h / 2 * (divergence(x, now) + divergence(ahead, then))
        x = x + h / 2 * (first + velocity(ahead, then))
    log_prior = -0.5 * (x.square() + math.log(2 * math.pi)).sum(1)
    return log_prior + 0 * integral
