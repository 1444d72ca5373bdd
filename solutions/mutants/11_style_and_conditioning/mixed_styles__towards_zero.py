# answer: mixed_styles
def mixed_styles(mapping, first, second, cut, psi, codes):
    """One style for each layer of each image: (B, L, s).

    mapping: codes (n, d) -> styles (n, s); first and second (B, d) are the two codes of each image;
    cut (B,) whole numbers; psi (L,); codes (many, d) stand for the law of z.
    """
    centre = mapping(codes).mean(0)
    before = torch.arange(len(psi)) < cut[:, None]  # (B, L)
    styles = torch.where(
        before[:, :, None], mapping(first)[:, None], mapping(second)[:, None]
    )
    return psi[:, None] * styles
