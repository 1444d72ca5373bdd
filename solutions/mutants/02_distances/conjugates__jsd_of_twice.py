# answer: conjugates
def conjugates(t):
    """The conjugates of Kullback-Leibler, Pearson and Jensen-Shannon at t (n,): three tensors (n,), inf where infinite."""
    kl = torch.exp(t - 1)
    pearson = torch.where(t > -2, t + t**2 / 4, -1.0)  # below -2 the best u is 0
    finite = t < math.log(2)
    jsd = torch.where(finite, -torch.log(2 - torch.exp(t)), math.inf)
    return kl, pearson, jsd
