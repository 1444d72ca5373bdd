"""Every measurement of a set of samples at once, under one card; and the table that sets models side by side."""

import dataclasses
import html
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from course_lib.metrics.card import DRAW, Metric, value_text
from course_lib.metrics.features import Features, digit_classifier, feature_space
from course_lib.metrics.frechet import fid
from course_lib.metrics.kernel_distance import kid
from course_lib.metrics.memorisation import memorisation
from course_lib.metrics.modes import STACKED_MODES, mode_log_ratios, mode_statistics, stacked_modes
from course_lib.metrics.precision_recall import density_coverage, prd_f8, precision_recall
from course_lib.metrics.sharpness import sharpness

KID_SUBSETS, KID_SIZE = 50, 1000
PRD = {"clusters": 20, "runs": 5}
NEIGHBOURS, NEIGHBOURS_COVERAGE = 3, 5  # k of precision and recall, of density and coverage
ARROWS = {  # where better is
    **dict.fromkeys(("fid", "kid", "copies", "mode_kl", "bits_per_dim"), "↓"),
    **dict.fromkeys(("precision", "recall", "density", "coverage", "f8", "f1/8", "modes"), "↑"),
    **dict.fromkeys(("log_likelihood", "elbo", "iwae"), "↑"),
}
# Disjoint parts behind the interval of a share, and the 97.5 % point of Student's law with one degree of freedom less.
PARTS, STUDENT = 5, 2.776


def evaluate_samples(
    fake: Tensor,
    real: Tensor,
    *,
    train: Tensor | None = None,
    features: Features = "lenet",
    likelihood: Mapping[str, Tensor] | None = None,
    modes: str | tuple[Callable[[Tensor], Tensor], int] | None = None,
    data: str = "given",
    split: str = "test",
    seed: int = 0,
) -> dict[str, Metric]:
    """Measure the samples of any model against real data.

    Args:
        fake: generated images `(N, C, H, W)` in [0, 1]; or points `(N, d)` with `features=None`.
        real: real images or points that the model was not fitted to; as many as `fake`, for published protocols.
        train: those that it was fitted to, for the share of copies.
        features: as for `fid`.
        likelihood: what single real images are worth to the model, name -> `(n,)` values: "log_likelihood", "elbo", "iwae" in
            nats, "bits_per_dim".
        modes: "mnist" or "glyphs", for stacked digits of these; or a function from samples to mode numbers `(N,)` and how
            many modes there are.
        data, split, seed: what the real images are, and the seed of the fakes, for the card.

    Returns:
        name -> `Metric`, all with the entries of one card and those of their own protocol:

        | name | meaning | interval |
        |---|---|---|
        | fid, kid | distances of the features | see `fid`, `kid` |
        | precision, recall, density, coverage | k-nearest-neighbour shares | Student's, from 5 disjoint parts of the data |
        | f8, f1/8 | recall and precision of Sajjadi | none |
        | sharpness | mean over the generated images | of the mean |
        | copies | share of fakes nearer to a training image than any real image is | none |
        | modes, mode_kl | modes reached; nats from uniform | of the KL, to first order |
        | likelihoods | mean over the images | of the mean |

    Raises:
        ValueError: what the metrics refuse: wrong images, NaN, different sizes, too few samples.
    """
    space = feature_space(features)
    x, y = space(real), space(fake)
    given = space.extracted()
    core = {"data": data, **space.protocol(len(x), len(y), split, seed)}
    subset = min(KID_SIZE, len(x) // 2, len(y) // 2)
    metrics = [
        fid(x, y, given, split=split, seed=seed),
        kid(x, y, given, subsets=KID_SUBSETS, subset_size=subset, split=split, seed=seed),
    ]

    def add(name: str, value: float, interval: tuple[float, float] | None = None, **protocol) -> None:
        metrics.append(Metric(name, value, {**core, **protocol}, interval))

    for names, measure, k in (
        (("precision", "recall"), precision_recall, NEIGHBOURS),
        (("density", "coverage"), density_coverage, NEIGHBOURS_COVERAGE),
    ):
        values = measure(x, y, k)
        for name, value, half in zip(names, values, _half_widths(measure, x, y, k), strict=True):
            most = math.inf if name == "density" else 1.0
            add(name, value, half and (max(value - half, 0.0), min(value + half, most)), k=k)
    for name, value in zip(("f8", "f1/8"), prd_f8(x, y, **PRD), strict=True):
        add(name, value, **PRD)
    if fake.ndim == 4:
        metrics.append(Metric.mean("sharpness", sharpness(fake), core))
    if train is not None:
        add("copies", memorisation(y, space(train), x).share, n_train=len(train))
    if modes is not None:
        if isinstance(modes, str):
            which, n_modes = stacked_modes(fake, modes), STACKED_MODES
            protocol = {"n_modes": n_modes, "classifier": digit_classifier(modes)[1]}
        else:
            which, n_modes = modes[0](fake), modes[1]
            protocol = {"n_modes": n_modes}
        add("modes", mode_statistics(which, n_modes)[0], **protocol)
        ratios = mode_log_ratios(which, n_modes)
        metrics.append(Metric.mean("mode_kl", ratios, {**core, **protocol}, "nats"))
    for name, values in (likelihood or {}).items():
        unit = "bits/dim" if name == "bits_per_dim" else "nats"
        metrics.append(Metric.mean(name, values, {**core, "n": len(values)}, unit))
    return {m.name: dataclasses.replace(m, card={"data": data, **m.card}) for m in metrics}


def _half_widths(measure: Callable, real: Tensor, fake: Tensor, k: int) -> list[float | None]:
    """Half widths of the 95 % intervals of two metrics, from their spread over disjoint parts of the data; None without one.

    Counting fakes as independent trials would not do: they share the balls, and move together.
    """
    if min(len(real), len(fake)) < PARTS * 10 * k:
        return [None, None]
    parts = torch.tensor([measure(real[i::PARTS], fake[i::PARTS], k) for i in range(PARTS)])
    return [half or None for half in (STUDENT * parts.std(0) / PARTS**0.5).tolist()]


class MetricTable:
    """Models in rows, metrics in columns; all of a column measured alike.

    Args:
        floor: metrics of real data against real data, for the first row.
    """

    def __init__(self, floor: Mapping[str, Metric] | None = None):
        self.rows: dict[str, dict[str, Metric]] = {}
        if floor is not None:
            self.add("real data", floor)

    def add(self, name: str, metrics: Mapping[str, Metric]) -> "MetricTable":
        """Add a row. A model without a metric leaves its cell empty.

        Raises:
            ValueError: a metric measured otherwise than in the rows above; the message says in what.
        """
        for other_name, other in self.rows.items():
            for column in metrics.keys() & other.keys():
                try:
                    metrics[column].check_comparable(other[column])
                except ValueError as error:
                    raise ValueError(f"{column} of {name!r} against {other_name!r}: {error}") from error
        self.rows[name] = dict(metrics)
        return self

    @property
    def columns(self) -> list[str]:
        """The metrics, in the order in which they came."""
        return list(dict.fromkeys(column for row in self.rows.values() for column in row))

    @property
    def protocol(self) -> dict[str, Any]:
        """What the cards of all metrics share."""
        cards = [m.card for row in self.rows.values() for m in row.values()]
        shared = {key: value for key, value in (cards[0] if cards else {}).items() if key not in DRAW}
        return {k: v for k, v in shared.items() if all(k in card and card[k] == v for card in cards)}

    def _head(self) -> list[str]:
        units = {name: metric.unit for row in self.rows.values() for name, metric in row.items()}
        return [
            f"{name} {ARROWS.get(name, '')}".rstrip() + (f" ({units[name]})" if units[name] else "")
            for name in self.columns
        ]

    def _foot(self) -> str:
        shown = {k: v[:12] if k == "weights" else v for k, v in self.protocol.items() if v != ""}
        return ", ".join(f"{key} {value}" for key, value in shown.items())

    def __str__(self) -> str:
        lines = [["", *self._head()]]
        for name, row in self.rows.items():
            lines.append([name, *(_text(row.get(column)) for column in self.columns)])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rows = ["  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in lines]
        return "\n".join([*rows, self._foot()])

    def _repr_html_(self) -> str:
        """As HTML: the interval in small print below its value."""
        head = "".join(f"<th>{html.escape(text)}</th>" for text in ("", *self._head()))
        body = ""
        for name, row in self.rows.items():
            cells = (_text(row.get(column)).replace(" [", "<br><small>[") for column in self.columns)
            body += f"<tr><th>{html.escape(name)}</th>"
            body += "".join(f"<td>{c}{'</small>' if '<small>' in c else ''}</td>" for c in cells) + "</tr>"
        foot = f"<caption>{html.escape(self._foot())}</caption>"
        return f"<table>{foot}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(metric: Metric | None) -> str:
    return "" if metric is None else value_text(metric.value, metric.interval)
