"""A number that knows how it was measured."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

# What describes one draw rather than the protocol: values may differ here and still be compared.
DRAW = ("seed", "version")


@dataclasses.dataclass(frozen=True)
class Metric:
    """A value with its interval and the card of its protocol.

    Attributes:
        name: what was measured, for example "fid".
        value: the number; an int for a count. unit: "nats", "" for none.
        interval: 95 % interval of the value, None where none was computed.
        card: feature network and its weights' hash, resize, sample sizes, split, dtype, seed, library version.
    """

    name: str
    value: float
    card: Mapping[str, Any]
    interval: tuple[float, float] | None = None
    unit: str = ""

    def __str__(self) -> str:
        return f"{value_text(self.value, self.interval)} {self.unit}".rstrip()

    def check_comparable(self, other: "Metric") -> None:
        """Refuse to compare with a value of another protocol.

        Raises:
            TypeError: not a Metric. ValueError: the cards differ; the message says in what.
        """
        if not isinstance(other, Metric):
            raise TypeError(
                f"compare a Metric with a Metric of the same protocol; got {type(other).__name__}"
            )
        mine, theirs = ({"metric": m.name, "unit": m.unit, **m.card} for m in (self, other))
        differing = [k for k in {**mine, **theirs} if k not in DRAW and mine.get(k) != theirs.get(k)]
        if differing:
            details = "; ".join(f"{k}: {mine.get(k)!r} against {theirs.get(k)!r}" for k in differing)
            raise ValueError(f"these values were measured differently and do not compare ({details})")

    def __sub__(self, other: "Metric") -> float:
        self.check_comparable(other)
        return self.value - other.value

    def __lt__(self, other: "Metric") -> bool:
        return self - other < 0

    def __gt__(self, other: "Metric") -> bool:
        return self - other > 0

    @classmethod
    def mean(cls, name: str, values: Tensor, card: Mapping[str, Any], unit: str = "") -> "Metric":
        """The mean of independent values `(n,)` with its 95 % interval."""
        mean, error = values.double().mean().item(), values.double().std().item() / len(values) ** 0.5
        return cls(name, mean, card, (mean - 1.96 * error, mean + 1.96 * error), unit)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Metric":
        """The inverse of `to_json`."""
        interval = fields["interval"]
        return cls(**{**fields, "interval": None if interval is None else tuple(interval)})


def value_text(value: float, interval: tuple[float, float] | None = None) -> str:
    """The value and its interval in brackets: two decimals, more where all the numbers are small; a count as it is."""
    if isinstance(value, int):
        return f"{value:,}"
    numbers = (value, *(interval or ()))
    largest = max(map(abs, numbers))
    decimals = 2 if not 0 < largest < 1 else min(8, 2 - math.floor(math.log10(largest)))
    text = f"{value:.{decimals}f}"
    return text if interval is None else f"{text} [{', '.join(f'{v:.{decimals}f}' for v in interval)}]"
