# answer: projection_logit
def projection_logit(phi, y, v, c, a, b):
    """Logits (B,) of features phi (B, F) with labels y (B,).

    v (K, F) and c (K,) belong to the labels, a (F,) and b () to all.
    """
    return (a * phi).sum(1) + c[y] + b
