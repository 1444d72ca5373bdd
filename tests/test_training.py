"""The loop: exact resume after SIGKILL, several processes, divergence, schedules, averaged weights."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from course_lib import checkpoints
from course_lib.checkpoints import REPOSITORY, CheckpointError
from course_lib.training import DivergenceError, Recipe, fit
from course_lib.training.loop import batch_indices

HERE = Path(__file__).parent


def recipe(**changes) -> Recipe:
    return Recipe(
        **{"family": "toy", "data": "toy", "tier": "smoke", "steps": 60, "batch_size": 16, **changes}
    )


class Regression(nn.Module):
    """Fits x by a network with batch norm and dropout, with noise: everything that could break a repeat."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2)
        )

    def loss(self, x, y=None, *, generator=None):
        noise = 0.1 * torch.randn(x.shape, generator=generator, device=x.device)
        return (self.net(x + noise) - x).square().sum(1).mean()


class Adversarial(nn.Module):
    """Two players, one with batch norm and dropout, the critic stepped twice and clipped."""

    def __init__(self):
        super().__init__()
        self.generator_net = nn.Sequential(nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
        self.critic = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1))
        self.monitors = {}

    def parameter_groups(self):
        return {"critic": self.critic.parameters(), "generator": self.generator_net.parameters()}

    def training_step(self, x, y=None, *, generator=None):
        for _ in range(2):
            fake = self.generator_net(torch.randn(x.shape, generator=generator, device=x.device)).detach()
            distance = self.critic(x).mean() - self.critic(fake).mean()
            self.monitors = {"distance": distance.detach(), "share": (self.critic(x) > 0).float().mean()}
            yield "critic", -distance
            with torch.no_grad():
                for parameter in self.critic.parameters():
                    parameter.clamp_(-0.1, 0.1)
        yield "generator", -self.critic(self.generator_net(torch.randn(x.shape, generator=generator))).mean()


def points(n=200):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(1))


def fresh(cls=Regression):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return cls()


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(
        torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    )


def test_the_loss_falls_and_the_run_says_so():
    run = fit(fresh(), points(), recipe(steps=300, lr=1e-2), progress=False)
    losses = run.losses["all"]
    assert losses.shape == (300,)
    assert losses[-50:].mean() < 0.5 * losses[:10].mean()
    assert not run.model.training
    assert np.isfinite(run.grad_norms["all"]).all()


def test_same_recipe_same_weights_and_the_callers_seed_is_left_alone():
    torch.manual_seed(123)
    expected = torch.rand(1)
    torch.manual_seed(123)
    first = fit(fresh(), points(), recipe(), progress=False)
    assert torch.equal(torch.rand(1), expected)
    torch.rand(100)
    assert same(first.model, fit(fresh(), points(), recipe(), progress=False).model)
    assert not same(first.model, fit(fresh(), points(), recipe(seed=1), progress=False).model)


def test_every_pass_sees_every_item_once():
    stream = torch.cat([batch_indices(50, 16, step, seed=0) for step in range(25)])
    for epoch in stream.split(50):
        assert sorted(epoch.tolist()) == list(range(50))
    assert not torch.equal(stream[:50], stream[50:100])


@pytest.mark.parametrize("cls", [Regression, Adversarial])
def test_a_stopped_run_goes_on_bit_for_bit(cls, tmp_path):
    whole = fit(fresh(cls), points(), recipe(steps=150, ema_decay=0.9), progress=False)
    _interrupt_after(fresh(cls), recipe(steps=150, ema_decay=0.9), tmp_path, steps=100)
    assert (tmp_path / "resume.pt").exists()
    resumed = fit(fresh(cls), points(), recipe(steps=150, ema_decay=0.9), folder=tmp_path, progress=False)
    assert same(resumed.model, whole.model)
    for name, losses in whole.losses.items():
        np.testing.assert_array_equal(resumed.losses[name], losses)
    assert set(whole.monitors) == ({"distance", "share"} if cls is Adversarial else set())
    for name, values in whole.monitors.items():
        assert np.isfinite(values).all()
        np.testing.assert_array_equal(resumed.monitors[name], values)
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps == [50, 100, 150]


class Interrupted(Exception):
    pass


def _interrupt_after(model, recipe, folder, steps):
    """Run as far as `steps` and a bit, then stop as if the process had died."""
    calls = 0
    name = "training_step" if hasattr(model, "training_step") else "loss"
    original = getattr(model, name)

    def counted(*arguments, **options):
        nonlocal calls
        calls += 1
        if calls > steps + 20:
            raise Interrupted
        return original(*arguments, **options)

    setattr(model, name, counted)
    with pytest.raises(Interrupted):
        fit(model, points(), recipe, folder=folder, progress=False, save_seconds=0)


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights(tmp_path):
    """SIGKILL in the middle of real training on glyphs, from the command line."""

    def train(folder):
        command = [
            sys.executable,
            "-m",
            "course_lib",
            "train",
            "digit_classifier",
            "--data",
            "glyphs",
            "--tier",
            "smoke",
        ]
        return subprocess.Popen(
            [*command, "--steps", "120", "--out", str(folder), "--quiet", "--save-seconds", "0"],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    whole = train(tmp_path / "whole")
    assert whole.wait() == 0, whole.stdout.read()
    killed = train(tmp_path / "killed")
    while not (tmp_path / "killed" / "resume.pt").exists():
        assert killed.poll() is None, killed.stdout.read()
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "digit_classifier_glyphs.safetensors").exists()
    again = train(tmp_path / "killed")
    assert again.wait() == 0, again.stdout.read()
    first, second = (
        json.loads((tmp_path / name / "digit_classifier_glyphs.json").read_text())
        for name in ("whole", "killed")
    )
    assert first["sha256"] == second["sha256"]


@pytest.mark.slow
@pytest.mark.parametrize("cls", ["Regression", "Adversarial"])
def test_two_processes_do_the_run_of_one(cls, tmp_path):
    """torchrun with two gloo processes against one process with the same micro-batches."""
    script = tmp_path / "launch.py"
    script.write_text(
        "import sys, torch\n"
        f"sys.path.insert(0, {str(HERE)!r})\n"
        "import test_training as t\n"
        "from course_lib.training.loop import processes\n"
        f"run = t.fit(t.fresh(t.{cls}), t.points(), t.recipe(micro_batches=2, steps=80), progress=False)\n"
        "assert processes().num_processes == int(sys.argv[2])\n"
        "if processes().is_main_process:\n"
        f"    torch.save(run.model.state_dict(), {str(tmp_path)!r} + '/' + sys.argv[1])\n"
    )
    one = [sys.executable, str(script), "one.pt", "1"]
    two = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node=2",
        "--standalone",
        str(script),
        "two.pt",
        "2",
    ]
    for command in (one, two):
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr[-2000:]
    first, second = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pt", "two.pt"))
    for name in first:
        torch.testing.assert_close(second[name], first[name], rtol=1e-5, atol=1e-5, msg=name)
    untrained = fresh(globals()[cls]).state_dict()
    assert max((first[k].float() - untrained[k].float()).abs().max() for k in first) > 0.01


@pytest.mark.slow
def test_torchrun_of_the_command_line_does_the_run_of_one_process(tmp_path):
    words = [
        "-m",
        "course_lib",
        "train",
        "digit_classifier",
        "--data",
        "glyphs",
        "--tier",
        "smoke",
        "--quiet",
    ]
    words += ["--steps", "30", "--micro-batches", "2", "--out"]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]
    for name, launcher in (("one", []), ("two", torchrun)):
        command = [sys.executable, *launcher, *words, str(tmp_path / name)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stdout.count("checkpoint:") == 1
    paths = [tmp_path / name / "digit_classifier_glyphs.safetensors" for name in ("one", "two")]
    (first, card), (second, other) = (checkpoints.load(path) for path in paths)
    assert (card["processes"], other["processes"]) == (1, 2)
    for name in first:  # stored in half precision: one unit in its last place is 1e-3 of the value
        torch.testing.assert_close(second[name], first[name], rtol=2e-3, atol=1e-5, msg=name)


def test_micro_batches_average_to_the_gradient_of_the_batch():
    """Without batch norm, dropout and noise the cut makes no difference."""
    sizes = []

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 2)

        def loss(self, x, y=None, *, generator=None):
            sizes.append(len(x))
            return (self.net(x) - x).square().sum(1).mean()

    whole = fit(fresh(Plain), points(), recipe(), progress=False).model
    sizes.clear()
    cut = fit(fresh(Plain), points(), recipe(micro_batches=4), progress=False).model
    assert sizes == [4] * (4 * 60)
    for a, b in zip(whole.parameters(), cut.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_divergence_names_the_step_and_keeps_the_last_good_state(tmp_path):
    class Explodes(Regression):
        calls = 0

        def loss(self, x, y=None, *, generator=None):
            self.calls += 1
            return super().loss(x, generator=generator) * (torch.nan if self.calls == 73 else 1)

    with pytest.raises(DivergenceError, match=r"at step 73:.*last good state"):
        fit(fresh(Explodes), points(), recipe(steps=200), folder=tmp_path, progress=False, save_seconds=0)
    kept = torch.load(tmp_path / "resume.pt", weights_only=True)
    assert kept["step"] == 50
    assert all(t.isfinite().all() for t in kept["model"].values())


def test_monitors_are_recorded_at_each_step_and_logged(tmp_path):
    run = fit(fresh(Adversarial), points(), recipe(steps=100), folder=tmp_path, progress=False)
    assert {name: values.shape for name, values in run.monitors.items()} == {
        "distance": (100,),
        "share": (100,),
    }
    np.testing.assert_allclose(run.monitors["distance"], -run.losses["critic"], rtol=1e-5)
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in logged] == [50, 100]
    for line, window in zip(logged, (slice(0, 50), slice(50, 100)), strict=True):
        assert line["monitors"]["distance"] == pytest.approx(
            run.monitors["distance"][window].mean(), rel=1e-4
        )
        assert line["grad_norm"]["critic"] == pytest.approx(run.grad_norms["critic"][window].mean(), rel=1e-4)


def test_divergence_asks_the_model_for_the_likely_cause():
    class Explodes(Adversarial):
        steps = 0

        def training_step(self, x, y=None, *, generator=None):
            self.steps += 1
            yield from super().training_step(x, generator=generator)
            if self.steps > 70:
                yield "generator", sum(p.square().sum() for p in self.generator_net.parameters()) * 1e12

        def likely_cause(self, monitors):
            assert set(monitors) == {"distance", "share"}
            return f"Seen since the last look: {monitors['share']:.0%} of the data above zero"

    with pytest.raises(
        DivergenceError, match=r"at step 7\d: loss of 'generator'.*Seen since the last look: \d+%"
    ):
        fit(fresh(Explodes), points(), recipe(steps=200), progress=False)

    class Silent(Regression):
        def loss(self, x, y=None, *, generator=None):
            return super().loss(x, generator=generator) * torch.nan

    with pytest.raises(DivergenceError, match="Lower the learning rate or clip the gradient"):
        fit(fresh(Silent), points(), recipe(), progress=False)


def test_a_damaged_or_foreign_resume_file_is_refused(tmp_path):
    fit(fresh(), points(), recipe(), folder=tmp_path, progress=False)
    with pytest.raises(CheckpointError, match="another recipe"):
        fit(fresh(), points(), recipe(lr=5e-4), folder=tmp_path, progress=False)
    file = tmp_path / "resume.pt"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="not a whole resume file"):
        fit(fresh(), points(), recipe(), folder=tmp_path, progress=False)


def test_ema_is_torchs_over_parameters_only():
    model, averages = fresh(), []

    class Watched(Regression):
        def loss(self, x, y=None, *, generator=None):
            averages.append({k: v.clone() for k, v in self.state_dict().items()})
            return super().loss(x, generator=generator)

    model = fresh(Watched)
    run = fit(model, points(), recipe(steps=20, ema_decay=0.8), progress=False)
    averages.append(model.state_dict())
    peer = AveragedModel(fresh(), multi_avg_fn=get_ema_multi_avg_fn(0.8))
    other = fresh()
    for state in averages[1:]:
        other.load_state_dict(state)
        peer.update_parameters(other)
    for (name, value), expected in zip(run.model.named_parameters(), peer.module.parameters(), strict=True):
        torch.testing.assert_close(value, expected, msg=name)
    for (name, value), last in zip(run.model.named_buffers(), model.buffers(), strict=True):
        assert torch.equal(value, last), name


def test_schedules():
    cosine = recipe(steps=100, schedule="cosine", warmup=10)
    assert cosine.lr_factor(0) == pytest.approx(0.1)
    assert cosine.lr_factor(50) == pytest.approx(0.5)
    step = recipe(schedule="step", milestones=(10, 20), decay=0.1)
    assert [round(step.lr_factor(s), 4) for s in (9, 10, 19, 20)] == [1, 0.1, 0.1, 0.01]


def test_clipping_bounds_the_update_but_reports_the_norm():
    loose = fit(fresh(), points(), recipe(steps=1, optimizer="sgd", lr=1.0), progress=False)
    tight = fit(fresh(), points(), recipe(steps=1, optimizer="sgd", lr=1.0, clip_norm=0.01), progress=False)
    assert tight.grad_norms["all"][0] == pytest.approx(loose.grad_norms["all"][0])
    moved = sum(
        (a - b).square().sum() for a, b in zip(tight.model.parameters(), fresh().parameters(), strict=True)
    )
    assert moved.sqrt().item() == pytest.approx(0.01, rel=1e-3)


def test_a_group_may_have_an_optimiser_of_its_own_strength():
    groups = {"critic": {"lr": 0.0}}
    run = fit(
        fresh(Adversarial), points(), recipe(steps=5, optimizer="rmsprop", groups=groups), progress=False
    )
    start = fresh(Adversarial)
    for ours, theirs in zip(run.model.critic.parameters(), start.critic.parameters(), strict=True):
        assert torch.equal(ours, theirs.clamp(-0.1, 0.1))  # only clipped, as the model's own step says
    moved = zip(run.model.generator_net.parameters(), start.generator_net.parameters(), strict=True)
    assert any(not torch.equal(ours, theirs) for ours, theirs in moved)


def test_bf16_trains_too():
    model, seen = fresh(), set()
    model.net[0].register_forward_hook(lambda layer, inputs, output: seen.add(output.dtype))
    run = fit(model, points(), recipe(steps=200, lr=1e-2, precision="bf16"), progress=False)
    assert seen == {torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in run.model.parameters())
    assert run.losses["all"][-50:].mean() < 0.6 * run.losses["all"][:10].mean()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 500}, "more than the 200 items"),
        ({"micro_batches": 3}, "cannot share"),
    ],
)
def test_impossible_batches_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        fit(fresh(), points(), recipe(**changes), progress=False)


def test_a_recipe_with_a_wrong_word_is_refused():
    with pytest.raises(ValueError, match="tier='huge', expected one of smoke"):
        recipe(tier="huge")
    with pytest.raises(ValueError, match="optimizer"):
        recipe(optimizer="lion")
