# answer: sample_back
def sample_back(generator, x_T, latents, noises, posterior):
    """Samples (B, ...) from x_T (B, ...) by T calls of the generator, without a graph.

    latents (T, B, d) and noises (T, B, ...); posterior is a Posterior with tables (T,).
    """
    training = generator.training
    generator.eval()
    x = x_T
    with torch.no_grad():
        for t in reversed(range(len(latents))):
            guess = generator(
                x, torch.full((len(x),), t), latents[len(latents) - 1 - t]
            )
            x = posterior.of_guess[t] * guess + posterior.of_next[t] * x
            x = x + posterior.deviation[t] * noises[t]
    generator.train(training)
    return x
