# answer: four_numbers
def four_numbers(real, fake, k):
    """Precision, recall, density and coverage of features real (n, d) and fake (m, d) with k neighbours."""
    real_radius = (
        torch.cdist(real, real).sort(1).values[:, k - 1]
    )  # column 0: the point itself
    fake_radius = torch.cdist(fake, fake).sort(1).values[:, k - 1]
    distance = torch.cdist(real, fake)  # (n, m)
    inside = distance <= real_radius[:, None]
    precision = inside.any(0).double().mean()
    recall = (distance <= fake_radius).any(1).double().mean()
    density = inside.sum() / (k * len(fake))
    coverage = inside.any(1).double().mean()
    return precision, recall, density, coverage
