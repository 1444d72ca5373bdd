# answer: critic_bound
def critic_bound(kind, v_p, v_q):
    """E_p[T] - E_q[f*(T)] in nats, a scalar: raw scores v_p (n,) on samples of p and v_q (m,) on samples of q.

    kind is "kl" or "jsd".
    """
    if kind == "kl":
        return v_p.mean() - torch.exp(v_q - 1).mean()
    # 2 - e^(2 T) = 2 - 2 sigmoid(v) = 2 sigmoid(-v)
    on_p = v_p
    conjugate = -0.5 * torch.log(2 - torch.exp(2 * v_q))
    return on_p.mean() - conjugate.mean()
