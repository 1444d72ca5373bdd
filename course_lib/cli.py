"""The command line: `python -m course_lib {train, sample, evaluate, experiment, release, grade}`.

Exit codes: 0 done; 1 the work failed or a check did not hold; 2 the words on the command line are wrong.
"""

import argparse
import sys
from pathlib import Path

from course_lib.tiers import TIERS, tier

EPILOG = """examples:
  python -m course_lib train vae --data glyphs --tier smoke
  python -m course_lib sample runs/vae_glyphs_smoke/vae_glyphs --out grid.png
  python -m course_lib evaluate vae_mnist
  torchrun --nproc-per-node=2 -m course_lib train vae --data mnist --tier lab --micro-batches 2
"""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except KeyboardInterrupt:
        print("interrupted: what was saved stays; the same command goes on from there", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m course_lib",
        description="Train, sample and evaluate the models of the course; release and grade its exercises.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    train = commands.add_parser(
        "train",
        help="train a model by its recipe and leave a checkpoint",
        description="Train a model by its recipe. An interrupted run goes on where it stopped when you repeat the "
        "command. Writes log.jsonl, resume.pt and the checkpoint FAMILY_DATA.safetensors with its card.",
    )
    train.add_argument("family", help="what to train, for example vae")
    train.add_argument("--data", default="glyphs", help="data set (default: glyphs, which needs no download)")
    train.add_argument(
        "--tier", choices=TIERS, help="how much to compute (default: COURSE_TIER, or by the hardware)"
    )
    train.add_argument("--steps", type=int, help="another number of steps than the recipe's")
    train.add_argument("--seed", type=int, help="another seed than the recipe's")
    train.add_argument(
        "--micro-batches", type=int, help="pieces of a batch; a multiple of the number of processes"
    )
    train.add_argument(
        "--root", type=Path, help="folder of downloaded data (default: COURSE_DATA, or a cache)"
    )
    train.add_argument("--out", type=Path, help="folder of the run (default: runs/FAMILY_DATA_TIER)")
    train.add_argument(
        "--save-seconds", type=float, default=30, help="how often to save for resuming (default: 30)"
    )
    train.add_argument("--quiet", action="store_true", help="no progress bar")
    train.set_defaults(run=_train)

    sample = commands.add_parser(
        "sample",
        help="draw samples from a checkpoint into a PNG",
        description="Draw samples and save them as a grid. A model that draws from outlines gets those of test glyphs, and the "
        "grid shows outline and drawing side by side.",
    )
    sample.add_argument("checkpoint", help="a name in pretrained/, or the path of a .safetensors file")
    sample.add_argument("--n", type=int, default=64, help="how many (default: 64)")
    sample.add_argument("--seed", type=int, default=0, help="seed of the noise (default: 0)")
    sample.add_argument(
        "--out", type=Path, default=Path("samples.png"), help="the PNG (default: samples.png)"
    )
    sample.set_defaults(run=_sample)

    evaluate = commands.add_parser(
        "evaluate",
        help="measure a checkpoint and write the numbers into its card",
        description="Measure the stored file (not the run that made it) on the test set: distances, precision and recall "
        "of its samples, copies of training images, and likelihood or its bounds where the family has them. The numbers "
        "go into the checkpoint's card.",
    )
    evaluate.add_argument("checkpoint", help="a name in pretrained/, or the path of a .safetensors file")
    evaluate.add_argument("--n", type=int, default=10_000, help="samples and test images (default: 10,000)")
    evaluate.add_argument("--seed", type=int, default=0, help="seed of the samples (default: 0)")
    evaluate.add_argument(
        "--root", type=Path, help="folder of downloaded data (default: COURSE_DATA, or a cache)"
    )
    evaluate.add_argument("--publish", metavar="NAME", help="copy file and card to pretrained/NAME")
    evaluate.set_defaults(run=_evaluate)

    experiment = commands.add_parser(
        "experiment",
        help="run an experiment of the book and record it with its card",
        description="Run an experiment of the book. Without NAME: list them.",
    )
    experiment.add_argument("name", nargs="?", help="name of the experiment")
    experiment.add_argument(
        "--tier", choices=TIERS, help="how much to compute (default: COURSE_TIER, or by hardware)"
    )
    experiment.add_argument("--out", type=Path, default=Path("runs/experiments"), help="folder of the record")
    experiment.add_argument(
        "--publish", action="store_true", help="record into pretrained/experiments instead"
    )
    experiment.set_defaults(run=_experiment)

    from course_lib.grading import grade, release

    for name, module in {"release": release, "grade": grade}.items():
        summary = module.__doc__.strip().split("\n")[0]
        command = commands.add_parser(
            name, help=summary[0].lower() + summary[1:].rstrip("."), description=summary
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _train(arguments: argparse.Namespace) -> int:
    from course_lib import training
    from course_lib.training.loop import processes

    changes = {
        name: getattr(arguments, name)
        for name in ("steps", "seed", "micro_batches")
        if getattr(arguments, name) is not None
    }
    chosen = training.recipe(arguments.family, arguments.data, arguments.tier or tier(), **changes)
    folder = arguments.out or Path("runs") / f"{chosen.family}_{chosen.data}_{chosen.tier}"
    if chosen.note and processes().is_main_process:
        print(f"expect: {chosen.note}")
    run = training.train(
        chosen, folder, arguments.root, progress=not arguments.quiet, save_seconds=arguments.save_seconds
    )
    if not processes().is_main_process:
        return 0
    last = ", ".join(
        f"{name} {losses[-100:].mean():.4g}" for name, losses in run.losses.items() if len(losses)
    )
    name = f"{chosen.family}_{chosen.data}"
    print(
        f"{chosen.steps} steps in {run.seconds:.0f} s; loss of the last 100 steps: {last or 'none (closed form)'}"
    )
    print(f"checkpoint: {folder / name}.safetensors\nnext: python -m course_lib sample {folder / name}")
    return 0


def _load(checkpoint: str):
    from course_lib import models

    path = Path(checkpoint)
    if path.suffix in (".safetensors", ".json"):
        path = path.with_suffix("")
    if path.parent != Path() or path.with_name(path.name + ".json").exists():
        return models.load(path.name, path.parent), path.with_name(path.name + ".safetensors")
    from course_lib.checkpoints import PRETRAINED

    return models.load(path.name), PRETRAINED / f"{path.name}.safetensors"


def _sample(arguments: argparse.Namespace) -> int:
    import torch
    from torchvision.utils import save_image

    from course_lib.checkpoints import atomic_path
    from course_lib.training import load_data

    if arguments.n < 1:
        raise ValueError(f"--n must be at least 1; got {arguments.n}")
    model, _ = _load(arguments.checkpoint)
    outlines = None
    if model.card["recipe"]["data_options"].get("edges"):
        outlines = load_data("glyphs", "test", n=arguments.n, edges=True).x[:, :1]
    images = model.sample(arguments.n, outlines, generator=torch.Generator().manual_seed(arguments.seed))
    if outlines is not None:
        images = torch.cat([outlines, images], 3)
    if images.ndim != 4:
        raise ValueError(f"{arguments.checkpoint} draws points {tuple(images.shape[1:])}, not images")
    columns = max(1, round(arguments.n**0.5))
    with atomic_path(arguments.out) as temporary:
        save_image(images.clamp(0, 1), temporary, format="png", nrow=columns, padding=2, pad_value=0.5)
    print(f"{arguments.n} samples of {arguments.checkpoint}: {arguments.out}")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from course_lib import checkpoints
    from course_lib.training import recipe
    from course_lib.training.evaluation import evaluate

    model, path = _load(arguments.checkpoint)
    metrics = evaluate(model, model.card, n=arguments.n, seed=arguments.seed, root=arguments.root)
    card = {key: value for key, value in model.card.items() if key != "sha256"}
    card["published"] = dict(recipe(card["family"], card["data"], card["tier"]).published)
    card["metrics"] = {**card["metrics"], **{name: metric.to_json() for name, metric in metrics.items()}}
    checkpoints.write_json(path.with_suffix(".json"), {**card, "sha256": model.card["sha256"]})
    for name, metric in metrics.items():
        print(f"{name:>14}: {metric}")
    if arguments.publish:
        target = checkpoints.PRETRAINED / f"{arguments.publish}.safetensors"
        with checkpoints.atomic_path(target) as temporary:
            temporary.write_bytes(path.read_bytes())
        checkpoints.write_json(
            target.with_suffix(".json"),
            {**card, "name": arguments.publish, "sha256": checkpoints.sha256(target)},
        )
        print(f"published: {target}")
    return 0


def _experiment(arguments: argparse.Namespace) -> int:
    from course_lib.training import experiment

    if arguments.name is None:
        for name, what in experiment.list_experiments().items():
            print(f"{name:24} {what}")
        return 0
    folder = experiment.RECORDS if arguments.publish else arguments.out
    _, card = experiment.run_experiment(arguments.name, arguments.tier or tier(), folder)
    print(f"{card['name']} ({card['tier']}) in {card['seconds']} s: {folder / card['name']}.npz and its card")
    return 0
