"""Data sets and toy laws, one name each: see `dataset`, `toy2d`, `mixture1d` and `texture`."""

from course_lib.data import toy2d
from course_lib.data.edges import edge_pairs, outlines
from course_lib.data.image_sets import (
    ImageData,
    binarize,
    cache_folder,
    data_folder,
    dataset,
    from_array,
    from_folder,
    stacked,
)
from course_lib.data.textures import TEXTURES, texture
from course_lib.data.toy2d import Mixture1D, mixture1d

__all__ = [
    "TEXTURES",
    "ImageData",
    "Mixture1D",
    "binarize",
    "cache_folder",
    "data_folder",
    "dataset",
    "edge_pairs",
    "from_array",
    "from_folder",
    "mixture1d",
    "outlines",
    "stacked",
    "texture",
    "toy2d",
]
