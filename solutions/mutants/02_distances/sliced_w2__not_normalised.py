# answer: sliced_w2
def sliced_w2(x, y, directions):
    """The mean of the squared W_2 along lines, a scalar: x and y (n, D), directions (L, D) of any length."""
    omega = directions
    on_x = (x @ omega.T).sort(dim=0).values  # (n, L)
    on_y = (y @ omega.T).sort(dim=0).values
    return (on_x - on_y).square().mean()
