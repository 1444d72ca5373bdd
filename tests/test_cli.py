"""The command line, as a newcomer types it."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from course_lib.checkpoints import REPOSITORY
from course_lib.cli import main
from course_lib.training import load_data


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for command in ("train", "sample", "evaluate", "experiment", "release", "grade"):
        assert command in text
    for command in ("train", "sample", "evaluate", "experiment", "release", "grade"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert len(capsys.readouterr().out) > 200


def test_wrong_words_exit_with_two(capsys):
    for words in ([], ["fly"], ["train", "vae", "--tier", "huge"]):
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 2
    assert "invalid choice" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "unicorn"], "no recipes for 'unicorn'; there are recipes for"),
        (
            ["train", "digit_classifier", "--data", "faces", "--tier", "smoke"],
            "no recipe for faces/smoke; there are",
        ),
        (["sample", "no_such_model"], "no card no_such_model.json"),
        (["experiment", "nothing"], "no experiment 'nothing'; there are"),
    ],
)
def test_what_cannot_be_done_exits_with_one_and_says_why(words, message, capsys):
    assert main(words) == 1
    assert message in capsys.readouterr().err


def test_train_then_sample_gives_a_picture(tmp_path, capsys):
    out = tmp_path / "run"
    words = [
        "train",
        "vae",
        "--data",
        "glyphs",
        "--tier",
        "smoke",
        "--steps",
        "60",
        "--out",
        str(out),
        "--quiet",
    ]
    assert main(words) == 0
    assert "next: python -m course_lib sample" in capsys.readouterr().out
    card = json.loads((out / "vae_glyphs.json").read_text())
    assert card["steps"] == 60
    assert card["tier"] == "smoke"
    assert [json.loads(line)["step"] for line in (out / "log.jsonl").read_text().splitlines()] == [50, 60]
    for name in ("vae_glyphs", "vae_glyphs.safetensors"):
        picture = tmp_path / f"{name}.png"
        assert main(["sample", str(out / name), "--n", "16", "--out", str(picture)]) == 0
    pixels = np.asarray(Image.open(picture))
    assert pixels.shape == (4 * 30 + 2, 4 * 30 + 2, 3)
    assert pixels.std() > 10
    assert np.array_equal(pixels, np.asarray(Image.open(tmp_path / "vae_glyphs.png")))


def test_a_model_of_outlines_shows_them_beside_its_drawings(tmp_path):
    picture = tmp_path / "pairs.png"
    assert main(["sample", "image_to_image_glyphs", "--n", "4", "--out", str(picture)]) == 0
    pixels = np.asarray(Image.open(picture))
    assert pixels.shape == (2 * 30 + 2, 2 * 58 + 2, 3)
    outlines = load_data("glyphs", "test", n=4, edges=True).x[:, 0]
    assert np.array_equal(pixels[2:30, 2:30, 0], (255 * outlines[0]).byte().numpy())


def test_evaluate_writes_numbers_with_their_protocol_into_the_card(tmp_path, capsys):
    out = tmp_path / "run"
    main(
        ["train", "vae", "--data", "glyphs", "--tier", "smoke", "--steps", "30", "--out", str(out), "--quiet"]
    )
    before = json.loads((out / "vae_glyphs.json").read_text())
    assert main(["evaluate", str(out / "vae_glyphs"), "--n", "200"]) == 0
    after = json.loads((out / "vae_glyphs.json").read_text())
    assert after["sha256"] == before["sha256"]
    assert set(after["metrics"]) >= {"fid", "kid", "precision", "recall", "copies", "elbo", "iwae"}
    assert after["metrics"]["fid"]["card"]["n_fake"] == 200
    assert after["metrics"]["iwae"]["value"] > after["metrics"]["elbo"]["value"]
    assert "nats" in capsys.readouterr().out


@pytest.mark.slow
def test_the_module_runs_as_a_program(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "course_lib", "train", "nothing"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: no recipes for 'nothing'")
    assert "Traceback" not in done.stderr
