# answer: linear_rulers
def linear_rulers(x, y, clip, penalty):
    """What the best linear critic estimates from x (n, d) of p and y (m, d) of q, three scalars.

    With ||w|| at most 1; with every |w_i| at most clip; at the maximum of <w, delta> - penalty (||w|| - 1)^2.
    """
    delta = x.mean(0) - y.mean(0)
    distance = delta.norm()
    length = 1 + distance * penalty / 2
    return distance, clip * delta.abs().sum(), length * distance
