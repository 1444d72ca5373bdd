# answer: inception_score
def inception_score(probabilities):
    """The Inception score, a scalar, of N images with class probabilities (N, K)."""
    p = probabilities
    kl = (torch.special.xlogy(p, p) - torch.special.xlogy(p, p.mean(0))).mean(1)
    return kl.mean().exp()
