# answer: patch_geometry
def patch_geometry(kernels, strides, paddings, size):
    """Side of a logit's patch, pixels from one patch to the next, logits a side: three whole numbers.

    kernels, strides, paddings: sequences of whole numbers, from the image on; size: side of the image.
    """
    field, step = 1, 1
    for k, s, p in zip(kernels, strides, paddings, strict=True):
        field += (k - 1) * step
        step *= s
        size = (size + p - k) // s + 1
    return field, step, size
