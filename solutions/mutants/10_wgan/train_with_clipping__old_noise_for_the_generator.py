# answer: train_with_clipping
def train_with_clipping(
    critic, generator, draw_data, draw_noise, steps, n_critic, lr, clip
):
    """Train both networks in place; returns nothing.

    critic: points (B, d) -> (B,); generator: noise (B, k) -> points; draw_data() and draw_noise() give fresh batches.
    """
    critic_optimiser = torch.optim.RMSprop(critic.parameters(), lr=lr)
    generator_optimiser = torch.optim.RMSprop(generator.parameters(), lr=lr)
    for _ in range(steps):
        for _ in range(n_critic):
            noise = draw_noise()
            fake = generator(noise).detach()
            loss = critic(fake).mean() - critic(draw_data()).mean()
            critic_optimiser.zero_grad()
            loss.backward()
            critic_optimiser.step()
            with torch.no_grad():
                for parameter in critic.parameters():
                    parameter.clamp_(-clip, clip)
        loss = -critic(generator(noise)).mean()
        generator_optimiser.zero_grad()
        loss.backward()
        generator_optimiser.step()
