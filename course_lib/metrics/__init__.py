"""Measurements of samples and models, each with the card of its protocol."""

from course_lib.metrics.card import Metric
from course_lib.metrics.features import inception_features, lenet_features
from course_lib.metrics.frechet import (
    FeatureStatistics,
    fid,
    frechet_distance,
    load_statistics,
    save_statistics,
)

__all__ = [
    "FeatureStatistics",
    "Metric",
    "fid",
    "frechet_distance",
    "inception_features",
    "lenet_features",
    "load_statistics",
    "save_statistics",
]
