"""The results page: tables made of the cards in `pretrained/`, so that no number stands in the book without its run.

A checkpoint's card may name published neighbours of its metrics: `"published": {"elbo": {"value": ..., "source": a key
of references.bib, "why": why ours differs}}`.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

# Metrics of samples, side by side in one table; every other metric, and one with a published neighbour, has a row of its own.
SAMPLES = {
    "fid": "FID",
    "kid": "KID",
    "precision": "Precision",
    "recall": "Recall",
    "density": "Density",
    "coverage": "Coverage",
    "f8": "F8",
    "f1/8": "F1/8",
    "sharpness": "Sharpness",
    "copies": "Copies",
}


def page(folder: Path) -> str:
    """The tables as MyST text: measured checkpoints, how they were trained, recorded experiments.

    Args:
        folder: `pretrained/`.
    """
    cards = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.json"))]
    models = [card for card in cards if "family" in card]
    runs = [card for card in cards if "command" in card]
    floors = [
        ("*real training images*", card["data"], *sample_cells(card["floor"]))
        for card in cards
        if "floor" in card
    ]
    samples = [
        (code(card["name"]), card["data"], *sample_cells(card["metrics"]))
        for card in models
        if SAMPLES.keys() & card["metrics"].keys()
    ]
    measured = [row for card in models for row in metric_rows(card)]
    reasons = [
        f"- {code(card['name'])}, {name}: {p['why']}." for card in models for name, p in neighbours(card)
    ]
    if reasons:
        reasons = ["Why ours and the published values differ:\n", *reasons, ""]
    trained = (
        (
            code(card["name"]),
            card["tier"],
            *(card.get(k) for k in ("steps", "parameters", "seconds")),
            machine(card),
        )
        for card in models
    )
    recorded = (
        (code(card["name"]), card.get("what"), card.get("tier"), card.get("seconds"), machine(card))
        for card in runs
    )
    return "\n".join(
        [
            *table(("Checkpoint", "Data", "Metric", "Ours", "Published"), measured),
            *reasons,
            "### Samples\n",
            *table(("Samples", "Data", *SAMPLES.values()), sorted(floors + samples, key=lambda row: row[1])),
            "### How they were trained\n",
            *table(("Checkpoint", "Tier", "Steps", "Parameters", "Seconds", "Machine"), trained),
            "### Recorded experiments\n",
            *table(("Experiment", "What it measures", "Tier", "Seconds", "Machine"), recorded),
        ]
    )


def sample_cells(metrics: Mapping[str, Mapping]) -> Iterable[str]:
    """The metrics of samples with their intervals, "" for one that is not there."""
    return (ours(metrics[name]) if name in metrics else "" for name in SAMPLES)


def metric_rows(card: Mapping) -> Iterable[tuple]:
    """One row for each other metric of a checkpoint, with its published neighbour."""
    for name, metric in card.get("metrics", {}).items():
        published = dict(neighbours(card)).get(name, {})
        if name in SAMPLES and not published:
            continue
        theirs = f"{published['value']} {{cite}}`{published['source']}`" if published else ""
        unit = f" ({metric['unit']})" if metric.get("unit") else ""
        yield code(card["name"]), data(card), name + unit, ours(metric), theirs


def neighbours(card: Mapping) -> list[tuple[str, Mapping]]:
    """(metric, published neighbour) of a checkpoint."""
    return list(card.get("published", {}).items())


def ours(metric: Mapping) -> str:
    """A value with its 95 % interval."""
    from course_lib.metrics.card import value_text

    return value_text(metric["value"], metric.get("interval"))


def data(card: Mapping) -> str:
    """The data set and what was done to it."""
    options = card.get("recipe", {}).get("data_options", {})
    return card["data"] + (", binarised once" if options.get("binary") else "")


def machine(card: Mapping) -> str:
    """The processor or GPU of a run, and its threads."""
    hardware = card.get("hardware")
    if not hardware:
        return ""
    return f"{hardware['device']}, {hardware['threads']} thread{'s' if hardware['threads'] > 1 else ''}"


def code(text: str) -> str:
    return f"`{text}`"


def table(columns: tuple[str, ...], rows: Iterable[tuple]) -> list[str]:
    """A Markdown table; a sentence in its place while it has no row."""
    lines = [f"| {' | '.join(map(cell, row))} |" for row in rows]
    if not lines:
        return ["None yet.\n"]
    return [f"| {' | '.join(columns)} |", "|" + ":--|" * len(columns), *lines, ""]


def cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", r"\|")
