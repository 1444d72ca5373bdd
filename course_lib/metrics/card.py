"""A number that knows how it was measured."""

import dataclasses
from collections.abc import Mapping
from typing import Any

# What describes one draw rather than the protocol: values may differ here and still be compared.
DRAW = ("seed", "version")


@dataclasses.dataclass(frozen=True)
class Metric:
    """A value with its interval and the card of its protocol.

    Attributes:
        name: what was measured, for example "fid".
        value: the number. unit: "nats", "" for none.
        interval: 95 % interval of the value, None where none was computed.
        card: feature network and its weights' hash, resize, sample sizes, split, dtype, seed, library version.
    """

    name: str
    value: float
    card: Mapping[str, Any]
    interval: tuple[float, float] | None = None
    unit: str = ""

    def __str__(self) -> str:
        text = f"{self.value:.2f}"
        if self.interval is not None:
            text += f" [{self.interval[0]:.2f}, {self.interval[1]:.2f}]"
        return f"{text} {self.unit}".rstrip()

    def _check(self, other: "Metric") -> None:
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
        self._check(other)
        return self.value - other.value

    def __lt__(self, other: "Metric") -> bool:
        return self - other < 0

    def __gt__(self, other: "Metric") -> bool:
        return self - other > 0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "Metric":
        """The inverse of `to_json`."""
        interval = fields["interval"]
        return cls(**{**fields, "interval": None if interval is None else tuple(interval)})
