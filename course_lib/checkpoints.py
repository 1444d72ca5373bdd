"""Weights with a card: `name.safetensors` beside `name.json`, written whole or not at all.

A card is plain JSON that says where a file comes from: family and model options, recipe, data, tier, hardware, seconds,
steps, metric with its own card, commit, and the sha256 of the file it stands beside. Nothing here unpickles.
"""

import contextlib
import hashlib
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

REPOSITORY = Path(__file__).resolve().parents[1]
PRETRAINED = REPOSITORY / "pretrained"


class CheckpointError(ValueError):
    """A checkpoint that is missing, cut short, or not what its card says."""


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that becomes `path` when the block ends well, and vanishes when it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    os.close(handle)
    try:
        yield Path(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON atomically, keys in their own order."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hardware() -> dict[str, Any]:
    """What the program runs on: the GPU's name or the processor's, threads, and the versions that matter."""
    return {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else _processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """The repository's commit, with "+" where package files differ from it; "unknown" outside git."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(REPOSITORY), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short=12", "HEAD") + (
            "+" if git("status", "--porcelain", "course_lib") else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def save(
    path: Path, state: Mapping[str, Tensor], card: Mapping[str, Any], dtype: torch.dtype = torch.float16
) -> dict:
    """Write `path` (`.safetensors`) and its card beside it; return the card with the file's hash.

    Floating-point tensors are stored in `dtype`; half precision comes back as float32. The weights are written first, so a card
    never describes a file that is not there.
    """
    from safetensors.torch import save_file

    path = Path(path)
    stored = {
        name: (
            tensor.detach().to("cpu", dtype) if tensor.is_floating_point() else tensor.detach().cpu()
        ).contiguous()
        for name, tensor in state.items()
    }
    with atomic_path(path) as temporary:
        save_file(stored, temporary)
    card = {**card, "sha256": sha256(path)}
    write_json(path.with_suffix(".json"), card)
    return card


def read_card(path: Path) -> dict[str, Any]:
    """The card beside `path`.

    Raises:
        CheckpointError: there is none, or it is not JSON with a sha256.
    """
    card_path = Path(path).with_suffix(".json")
    if not card_path.is_file():
        available = sorted(p.stem for p in card_path.parent.glob("*.json"))
        raise CheckpointError(
            f"no card {card_path.name} in {card_path.parent}; there are: {', '.join(available) or 'none'}"
        )
    try:
        card = json.loads(card_path.read_text(encoding="utf-8"))
        card["sha256"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{card_path} is not a checkpoint's card ({error!r}): fetch the file anew"
        ) from error
    return card


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors (half precision as float32) and the card of a checkpoint whose hash is right.

    Raises:
        CheckpointError: card or file missing, cut short, changed, or foreign.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = Path(path)
    card = read_card(path)
    verify(path, card)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error}") from error
    return {name: t.float() if t.dtype == torch.float16 else t for name, t in tensors.items()}, card


def verify(path: Path, card: Mapping[str, Any]) -> None:
    """Raise `CheckpointError` unless the file at `path` is the one that `card` describes."""
    if not path.is_file():
        raise CheckpointError(f"the card of {path.name} is there but not the file itself: fetch {path} anew")
    found = sha256(path)
    if found != card["sha256"]:
        raise CheckpointError(
            f"{path} ({path.stat().st_size:,} bytes) is not the file its card describes: sha256 {found[:12]}..., "
            f"expected {card['sha256'][:12]}...: it is cut short or was changed. Fetch it anew"
        )
