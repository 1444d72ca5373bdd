"""The one training loop, its recipes as data, and recorded experiments."""

from course_lib.training.experiment import list_experiments, recorded, run_experiment
from course_lib.training.launch import build, load_data, save_run, train
from course_lib.training.loop import DivergenceError, Run, fit
from course_lib.training.recipe import Recipe, all_recipes, recipe

__all__ = [
    "DivergenceError",
    "Recipe",
    "Run",
    "all_recipes",
    "build",
    "fit",
    "list_experiments",
    "load_data",
    "recipe",
    "recorded",
    "run_experiment",
    "save_run",
    "train",
]
