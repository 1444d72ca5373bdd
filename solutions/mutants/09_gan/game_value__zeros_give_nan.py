# answer: game_value
def game_value(p, q, v):
    """The value V of logits v, and the largest V of all, two scalars in nats; p, q and v are (K,)."""
    value = p @ F.logsigmoid(v) + q @ F.logsigmoid(-v)
    best = p * (p / (p + q)).log() + q * (q / (p + q)).log()
    return value, best.sum()
