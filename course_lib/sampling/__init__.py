"""Samplers: from weights, scores or velocities to draws. `ode` and `sde` are modules of their own."""

from course_lib.sampling.importance import effective_sample_size, resample

__all__ = ["effective_sample_size", "resample"]
