# answer: adaptive_group_norm
def adaptive_group_norm(h, w, weight, bias, groups, eps=1e-5):
    """The maps h (B, C, ...), normalised in groups, with scale and shift from w (B, d); and the neutral bias (2 C,).

    weight (2 C, d) and bias (2 C,): scales first, then shifts.
    """
    style = (w.mean(0, keepdim=True).expand_as(w) @ weight.T + bias).view(
        len(h), -1, *[1] * (h.ndim - 2)
    )
    scale, shift = style.chunk(2, 1)
    neutral = torch.cat([torch.ones(h.shape[1]), torch.zeros(h.shape[1])])
    return scale * F.group_norm(h, groups, eps=eps) + shift, neutral
