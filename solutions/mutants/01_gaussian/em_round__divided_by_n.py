# answer: em_round
def em_round(x, weights, means, covariances):
    """New weights (K,), means (K, D), covariances (K, D, D) after one E-step and one M-step on points x (N, D)."""
    densities = torch.distributions.MultivariateNormal(means, covariances)
    log_joint = weights.log() + densities.log_prob(x[:, None])  # (N, K)
    r = log_joint.softmax(1)
    counts = r.sum(0)  # (K,)
    new_means = r.T @ x / len(x)
    centred = x[:, None] - new_means  # (N, K, D)
    new_covariances = (
        torch.einsum("nk,nki,nkj->kij", r, centred, centred) / counts[:, None, None]
    )
    return counts / len(x), new_means, new_covariances
