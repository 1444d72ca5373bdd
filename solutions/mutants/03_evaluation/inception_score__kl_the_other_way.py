# answer: inception_score
def inception_score(probabilities):
    """The Inception score, a scalar, of N images with class probabilities (N, K)."""
    p = probabilities.clamp(min=1e-12)
    q = p.mean(0)
    kl = (q * (q / p).log()).sum(1)
    return kl.mean().exp()
