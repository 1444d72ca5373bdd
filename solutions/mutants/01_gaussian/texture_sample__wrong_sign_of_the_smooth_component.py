# answer: texture_sample
def texture_sample(image, phase):
    """Random phase noise of a grey texture: image (L1, L2) and odd phases (L1, L2) -> sample (L1, L2)."""
    rows, columns = image.shape
    jump = torch.zeros_like(image)
    jump[0] += image[-1] - image[0]
    jump[-1] += image[0] - image[-1]
    jump[:, 0] += image[:, -1] - image[:, 0]
    jump[:, -1] += image[:, 0] - image[:, -1]
    q = 2 * torch.cos(2 * math.pi * torch.arange(rows) / rows)
    r = 2 * torch.cos(2 * math.pi * torch.arange(columns) / columns)
    laplacian = q[:, None] + r - 4
    laplacian[0, 0] = 1.0
    smooth = torch.fft.ifft2(torch.fft.fft2(jump) / laplacian).real
    turn = torch.exp(1j * phase)
    turn[0, 0] = 1.0  # the mean is kept, whatever the phases
    return torch.fft.ifft2(torch.fft.fft2(image + smooth) * turn).real
