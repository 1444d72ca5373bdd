"""Samplers: from weights or energies to draws."""

from course_lib.sampling.importance import effective_sample_size, resample

__all__ = ["effective_sample_size", "resample"]
