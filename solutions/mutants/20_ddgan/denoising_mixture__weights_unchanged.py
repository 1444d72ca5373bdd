# answer: denoising_mixture
def denoising_mixture(x_t, weights, means, variances, kept_s, kept_t):
    """The mixture q(x_s | x_t) for x_t (n,): its weights (n, K), means (n, K) and variances (K,).

    weights, means, variances (K,) belong to q(x_0); kept_s > kept_t are alpha-bar at s and t, numbers. kept_s may be 1.
    """
    alpha = kept_t / kept_s
    prior_mean = kept_s**0.5 * means
    prior_variance = kept_s * variances + 1 - kept_s
    total = alpha * prior_variance + 1 - alpha
    excess = x_t[:, None] - alpha**0.5 * prior_mean
    log_weights = weights.log() - 0.5 * total.log() - 0.5 * excess.square() / total
    gain = alpha**0.5 * prior_variance / total
    new_variance = (1 - alpha) * prior_variance / total
    return weights.expand_as(excess), prior_mean + gain * excess, new_variance
