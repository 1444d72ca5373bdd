# answer: mixture_score
def mixture_score(x, scale, std, weights, means, covs):
    """The score (B, d) of the noised mixture at x (B, d); weights (K,) sum to 1, means (K, d), covs (K, d, d)."""
    noised = scale * covs + std**2 * torch.eye(x.shape[1])
    law = torch.distributions.MultivariateNormal(scale * means, noised)
    share = (weights.log() + law.log_prob(x[:, None])).softmax(1)
    away = scale * means - x[:, None]
    pull = torch.linalg.solve(noised, away[..., None])[..., 0]
    return (share[..., None] * pull).sum(1)
