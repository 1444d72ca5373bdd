# answer: mode_statistics
def mode_statistics(modes, n_modes):
    """Modes covered, KL(shares || uniform) in nats, and its floor.

    modes (N,) int64 holds the mode of each image, a number from 0 to n_modes - 1.
    """
    counts = torch.bincount(modes, minlength=n_modes)
    share = counts / len(modes)
    kl = torch.special.xlogy(share, n_modes * share).sum()
    return (counts > 0).sum(), kl, n_modes / (2 * len(modes))
