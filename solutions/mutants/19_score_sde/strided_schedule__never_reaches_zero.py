# answer: strided_schedule
def strided_schedule(alpha_bar, steps):
    """Times (n,), integers that fall from T - 1 to 0, with beta (n,) and beta-tilde (n,) of the merged steps.

    alpha_bar (T,) falls, and alpha_bar[0] is that of the first noising step; n = steps is 2 or more.
    """
    times = torch.linspace(len(alpha_bar) - 1, 0, steps + 1)[:-1].round().long()
    here = alpha_bar[times]
    there = torch.cat([here[1:], torch.ones(1)])
    betas = 1 - here / there
    return times, betas, betas * (1 - there) / (1 - here)
