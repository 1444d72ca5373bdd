# answer: moved_law
def moved_law(v, points):
    """W_1 between a law and the same law moved by v (d,), and an optimal critic's values (n,) at points (n, d).

    The critic is linear, 0 at the origin and larger on the moved law.
    """
    distance = v.norm()
    return distance, points.norm(dim=1)
