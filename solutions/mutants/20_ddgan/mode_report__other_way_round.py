# answer: mode_report
def mode_report(digits, reference):
    """The number of modes that have a sample, KL(samples || data) in nats, and its floor: three numbers.

    digits (n, 3) int64 in 0 .. 9, one row for a sample; reference (1000,) the data's frequencies, which add up to 1.
    """
    mode = digits @ torch.tensor([100, 10, 1])
    count = torch.bincount(mode, minlength=1000)
    share = count / len(digits)
    kl = (reference * (reference / share).log()).sum()
    return (count > 0).sum(), kl, (len(reference) - 1) / (2 * len(digits))
