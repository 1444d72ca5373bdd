"""Store the feature statistics of real test sets, so that a FID can be computed where the data is absent.

Each card also holds the floor: every metric of as many real training images against the same test set.

python -m course_lib.metrics.reference mnist fashion_mnist glyphs
"""

import argparse

from course_lib import checkpoints, data
from course_lib.metrics.features import feature_space
from course_lib.metrics.frechet import FeatureStatistics, reference_path, save_statistics
from course_lib.metrics.report import evaluate_samples

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", nargs="+", help="data sets whose test images are 28x28 and grey")
    space = feature_space("lenet")
    for name in parser.parse_args().data:
        images = data.dataset(name, "test").x
        card = {"name": f"{name}_lenet", "data": name, "split": "test", **space.card}
        path = reference_path(name, "lenet")
        card = save_statistics(path, FeatureStatistics().update(space(images)), card)
        floor = evaluate_samples(data.dataset(name, "train", n=len(images)).x, images, data=name)
        floor = {metric.name: metric.to_json() for metric in floor.values()}
        checkpoints.write_json(path.with_suffix(".json"), {**card, "floor": floor})
        print(
            f"{name}: {card['n']} test images; training images against them: FID {floor['fid']['value']:.2f}"
        )
