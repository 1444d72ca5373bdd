"""Does the sampler repeat its training set?"""

import dataclasses

from torch import Tensor

from course_lib.metrics.neighbours import nearest_neighbours
from course_lib.metrics.ood import auroc


@dataclasses.dataclass(frozen=True)
class Memorisation:
    """Distances to the training set, of generated and of test images.

    Attributes:
        distances: `(n_fake,)` from each generated image to its nearest training image.
        neighbours: `(n_fake,)` index of that training image.
        test_distances: `(n_test,)` from each test image to its nearest training image.
        copies: indices of the generated images that lie nearer to the training set than any test image, nearest first.
        share: their share of the generated images.
        nearer: probability that a generated image lies nearer to the training set than a test image; 1/2 for a sampler
            of the data's law, towards 1 for one that copies.
    """

    distances: Tensor
    neighbours: Tensor
    test_distances: Tensor
    copies: Tensor
    share: float
    nearer: float


def memorisation(fake: Tensor, train: Tensor, test: Tensor) -> Memorisation:
    """Compare the distances fake -> train with test -> train.

    Args:
        fake, train, test: `(n, d)` features, or images (compared by pixels).

    Raises:
        ValueError: empty sets, NaN, different sizes.

    Source: Meehan, Chaudhuri & Dasgupta 2020.
    """
    distances, neighbours = (t.squeeze(1) for t in nearest_neighbours(fake, train))
    reference = nearest_neighbours(test, train)[0].squeeze(1)
    order = distances.argsort()
    copies = order[distances[order] < reference.min()]
    return Memorisation(
        distances, neighbours, reference, copies, len(copies) / len(distances), auroc(-distances, -reference)
    )
