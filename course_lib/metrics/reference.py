"""Store the feature statistics of real test sets, so that a FID can be computed where the data is absent.

Each card also holds the floor: the FID of as many real training images against the same test set.

python -m course_lib.metrics.reference mnist fashion_mnist glyphs
"""

import argparse

from course_lib import checkpoints, data
from course_lib.metrics.features import lenet_features, weights_hash
from course_lib.metrics.frechet import FeatureStatistics, fid, reference_path, save_statistics

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", nargs="+", help="data sets whose test images are 28x28 and grey")
    for name in parser.parse_args().data:
        images = data.dataset(name, "test").x
        statistics = FeatureStatistics().update(lenet_features(images))
        card = {
            "name": f"{name}_lenet",
            "data": name,
            "split": "test",
            "features": "lenet",
            "weights": weights_hash("lenet"),
            "resize": "none",
        }
        path = reference_path(name, "lenet")
        card = save_statistics(path, statistics, card)
        floor = fid(name, data.dataset(name, "train", n=len(images)).x)
        checkpoints.write_json(path.with_suffix(".json"), {**card, "floor": floor.to_json()})
        print(f"{name}: {statistics.n} test images; training images against them: FID {floor}")
