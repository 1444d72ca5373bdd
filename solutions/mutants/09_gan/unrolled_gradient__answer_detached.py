# answer: unrolled_gradient
def unrolled_gradient(value, a, b, steps, h):
    """d/da of value(a, b_K(a)) with K = steps: a (n,) and b (m,), value(a, b) a scalar; the result is (n,)."""
    a = a.detach().requires_grad_()
    answer = b.detach().requires_grad_()
    for _ in range(steps):
        (slope,) = torch.autograd.grad(value(a, answer), answer, create_graph=True)
        answer = (answer + h * slope).detach().requires_grad_()
    return torch.autograd.grad(value(a, answer), a)[0]
