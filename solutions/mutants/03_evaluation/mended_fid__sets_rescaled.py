# answer: mended_fid
def mended_fid(real, fake, network):
    """The FID of images real (N, 1, H, W) and fake (M, 1, H, W) in [0, 1]; network: images -> features (B, d).

    Raises ValueError where a set has no more images than there are features.
    """
    network.eval()
    moments = []
    for images in (real, fake):
        with torch.no_grad():
            features = network((images - images.min()) / (images.max() - images.min()))
        n, d = features.shape
        if n <= d:
            raise ValueError(
                f"{n} images of {d} features: the covariance has rank {n - 1}"
            )
        moments += [features.mean(0), torch.cov(features.T)]
    return gaussian_w2(*moments)
