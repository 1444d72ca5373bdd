# answer: transposed_convolution
def transposed_convolution(y, kernel, stride, padding):
    """y (A, o, o) with a kernel (A, B, k, k) -> (B, i, i)."""
    o, k = y.shape[-1], kernel.shape[-1]
    full = (o - 1) * stride + k
    x = torch.zeros(kernel.shape[1], full, full)
    for r, c in itertools.product(range(o), repeat=2):
        stamp = torch.einsum("a,abij->bij", y[:, r, c], kernel.mT)
        x[:, r * stride : r * stride + k, c * stride : c * stride + k] += stamp
    return x[:, padding : full - padding, padding : full - padding]
