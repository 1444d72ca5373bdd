"""Figures and explorers that several chapters share."""

from course_lib.viz.explorer import Explorer
from course_lib.viz.figures import COLORS, SAMPLES_SEED, image_grid, show, style
from course_lib.viz.source import show_source

__all__ = ["COLORS", "SAMPLES_SEED", "Explorer", "image_grid", "show", "show_source", "style"]
