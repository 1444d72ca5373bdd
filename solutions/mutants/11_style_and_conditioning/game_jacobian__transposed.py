# answer: game_jacobian
def game_jacobian(loss_theta, loss_phi, theta, phi):
    """The Jacobian (n + m, n + m) of the players' velocities (-d loss_theta / d theta, -d loss_phi / d phi).

    loss_theta and loss_phi: (theta (n,), phi (m,)) -> scalar. Rows are velocities, columns are variables, theta's first.
    """
    n = len(theta)

    def velocity(both):
        own = torch.autograd.grad(
            loss_theta(both[:n], both[n:]), both, create_graph=True
        )[0][:n]
        other = torch.autograd.grad(
            loss_phi(both[:n], both[n:]), both, create_graph=True
        )[0][n:]
        return -torch.cat([own, other])

    return torch.autograd.functional.jacobian(
        velocity, torch.cat([theta, phi]).detach()
    ).T
