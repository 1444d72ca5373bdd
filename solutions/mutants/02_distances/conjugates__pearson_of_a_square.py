# answer: conjugates
def conjugates(t):
    """The conjugates of Kullback-Leibler, Pearson and Jensen-Shannon at t (n,): three tensors (n,), inf where infinite."""
    kl = torch.exp(t - 1)
    pearson = torch.where(t > 0, t**2 / 4, 0.0)  # below -2 the best u is 0
    finite = 2 * t < math.log(2)
    jsd = torch.where(finite, -0.5 * torch.log(2 - torch.exp(2 * t)), math.inf)
    return kl, pearson, jsd
