"""Checkpoints: whole or refused, never unpickled."""

import json

import pytest
import torch

from course_lib import checkpoints, models
from course_lib.training import recipe


@pytest.fixture
def stored(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = models.build("digit_classifier", width=4, features=8)
    card = {"family": "digit_classifier", "model": {"width": 4, "features": 8}, "metrics": {}}
    path = tmp_path / "tiny.safetensors"
    checkpoints.save(path, model.state_dict(), card)
    return path, model


def test_a_saved_model_comes_back_in_half_precision(stored):
    path, model = stored
    again = models.load("tiny", path.parent)
    assert not again.training
    assert again.card["family"] == "digit_classifier"
    for name, tensor in model.state_dict().items():
        expected = tensor.half().float() if tensor.is_floating_point() else tensor
        assert torch.equal(again.state_dict()[name], expected), name
    assert [file.name for file in sorted(path.parent.iterdir())] == ["tiny.json", "tiny.safetensors"]


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-1], lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" * 99]
)
def test_a_damaged_file_is_refused(stored, damage):
    path, _ = stored
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(checkpoints.CheckpointError, match="not the file its card describes"):
        models.load("tiny", path.parent)


def test_a_foreign_file_with_a_right_hash_is_refused(stored):
    path, _ = stored
    path.write_bytes(b"\x80\x04 a pickle, perhaps")
    card = json.loads(path.with_suffix(".json").read_text())
    checkpoints.write_json(path.with_suffix(".json"), {**card, "sha256": checkpoints.sha256(path)})
    with pytest.raises(checkpoints.CheckpointError, match="not a safetensors file"):
        models.load("tiny", path.parent)


def test_a_card_of_another_architecture_is_refused(stored):
    path, _ = stored
    card = json.loads(path.with_suffix(".json").read_text())
    checkpoints.write_json(path.with_suffix(".json"), {**card, "model": {"width": 8}})
    with pytest.raises(checkpoints.CheckpointError, match="does not fit"):
        models.load("tiny", path.parent)


def test_missing_things_are_named(stored):
    path, _ = stored
    with pytest.raises(checkpoints.CheckpointError, match="there are: tiny"):
        models.load("huge", path.parent)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(checkpoints.CheckpointError, match="not a checkpoint's card"):
        models.load("tiny", path.parent)
    with pytest.raises(ValueError, match="unknown family"):
        models.build("no_such_family")


def test_a_write_that_fails_leaves_the_old_file_and_no_litter(tmp_path):
    path = tmp_path / "card.json"
    checkpoints.write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        checkpoints.write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_double_precision_statistics_stay_double(tmp_path):
    value = torch.randn(3, 3, dtype=torch.float64)
    checkpoints.save(tmp_path / "s.safetensors", {"cov": value}, {}, dtype=torch.float64)
    state, _ = checkpoints.load(tmp_path / "s.safetensors")
    assert torch.equal(state["cov"], value)


def test_every_published_checkpoint_comes_from_a_recipe_that_still_stands():
    for path in checkpoints.PRETRAINED.glob("*.safetensors"):
        card = checkpoints.read_card(path)
        today = json.loads(recipe(card["family"], card["data"], card["tier"]).to_json())
        for name in today.keys() & card["recipe"].keys():
            assert card["recipe"][name] == today[name], f"{path.name}: the recipe's {name} changed since"


def test_every_published_checkpoint_loads_and_fits_its_card():
    names = sorted(path.stem for path in checkpoints.PRETRAINED.glob("*.safetensors"))
    assert names
    for name in names:
        model = models.load(name)
        assert model.card["name"] == name
        assert model.card["commit"] != "unknown"
        assert sum(p.numel() for p in model.parameters()) == model.card["parameters"]
    total = sum(path.stat().st_size for path in checkpoints.PRETRAINED.rglob("*") if path.is_file())
    assert total < 60e6
