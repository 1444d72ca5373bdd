"""Measurements of samples and models, each with the card of its protocol."""

from course_lib.metrics.card import Metric
from course_lib.metrics.divergences import (
    F_DIVERGENCES,
    Estimate,
    FDivergence,
    jsd_monte_carlo,
    kl_monte_carlo,
)
from course_lib.metrics.features import FeatureSpace, feature_space, inception_features, lenet_features
from course_lib.metrics.frechet import (
    FeatureStatistics,
    fid,
    fid_bias,
    fid_curve,
    fid_infinity,
    frechet_distance,
    load_statistics,
    save_statistics,
)
from course_lib.metrics.inception_score import inception_score
from course_lib.metrics.kernel_distance import kid
from course_lib.metrics.likelihood import bits_per_dim, dequantize
from course_lib.metrics.memorisation import Memorisation, memorisation
from course_lib.metrics.mmd import mmd2, mmd2_gaussians
from course_lib.metrics.modes import kl_floor, mode_statistics, stacked_modes
from course_lib.metrics.neighbours import nearest_neighbours
from course_lib.metrics.ood import auroc
from course_lib.metrics.precision_recall import (
    density_coverage,
    expected_coverage,
    f_beta,
    prd,
    prd_curve,
    prd_f8,
    precision_recall,
)
from course_lib.metrics.report import MetricTable, evaluate_samples
from course_lib.metrics.sharpness import sharpness
from course_lib.metrics.transport import (
    Transport,
    lipschitz_dual,
    optimal_transport,
    sinkhorn,
    sliced_wasserstein2,
    wasserstein1,
)

__all__ = [
    "F_DIVERGENCES",
    "Estimate",
    "FDivergence",
    "FeatureSpace",
    "FeatureStatistics",
    "Memorisation",
    "Metric",
    "MetricTable",
    "Transport",
    "auroc",
    "bits_per_dim",
    "density_coverage",
    "dequantize",
    "evaluate_samples",
    "expected_coverage",
    "f_beta",
    "feature_space",
    "fid",
    "fid_bias",
    "fid_curve",
    "fid_infinity",
    "frechet_distance",
    "inception_features",
    "inception_score",
    "jsd_monte_carlo",
    "kid",
    "kl_floor",
    "kl_monte_carlo",
    "lenet_features",
    "lipschitz_dual",
    "load_statistics",
    "memorisation",
    "mmd2",
    "mmd2_gaussians",
    "mode_statistics",
    "nearest_neighbours",
    "optimal_transport",
    "prd",
    "prd_curve",
    "prd_f8",
    "precision_recall",
    "save_statistics",
    "sharpness",
    "sinkhorn",
    "sliced_wasserstein2",
    "stacked_modes",
    "wasserstein1",
]
