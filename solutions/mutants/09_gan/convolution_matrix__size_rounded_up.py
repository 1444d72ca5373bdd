# answer: convolution_matrix
def convolution_matrix(kernel, side, stride, padding):
    """The matrix (o * o, side * side) of a convolution of images (side, side) with a kernel (k, k)."""
    k = len(kernel)
    out = -(-(side + 2 * padding - k) // stride) + 1
    matrix = torch.zeros(out, out, side, side)
    for r, c, a, b in itertools.product(range(out), range(out), range(k), range(k)):
        row, column = r * stride + a - padding, c * stride + b - padding
        if 0 <= row < side and 0 <= column < side:
            matrix[r, c, row, column] = kernel[a, b]
    return matrix.reshape(out**2, side**2)
