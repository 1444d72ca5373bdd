# answer: nce
def nce(energy_x, log_q_x, energy_y, log_q_y, log_z):
    """Energies and noise log-densities of data (n,) and of noise (nu n,), log Z a number -> loss, weights (nu n,)."""
    log_nu = math.log(len(energy_y) / len(energy_x))
    logit_x = -energy_x - log_z - log_q_x - log_nu
    logit_y = -energy_y - log_z - log_q_y - log_nu
    # log D = logsigmoid(logit), log(1 - D) = logsigmoid(-logit), and log(D / (1 - D)) is the logit itself.
    loss = -(F.logsigmoid(logit_x).sum() + F.logsigmoid(-logit_y).sum()) / len(energy_x)
    return loss, torch.sigmoid(logit_y) / torch.sigmoid(logit_y).sum()
