# answer: best_pictures
def best_pictures(pictures, shares):
    """The pictures (H, W) with the least mean |x - a| and with the least mean (x - a)^2.

    pictures (n, H, W) are the possible answers, shares (n,) their probabilities.
    """
    ordered = pictures.sort(0)
    below = shares[ordered.indices].cumsum(0)  # P(x <= value)
    first = ((below < 0.5).sum(0, keepdim=True) - 1).clamp(min=0)
    return ordered.values.gather(0, first)[0], torch.einsum(
        "n,nhw->hw", shares, pictures
    )
