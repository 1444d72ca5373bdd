"""Exercises: `release` writes the students' notebooks, `checks` serves the check cells, `grade` marks what comes back.

The one source of a chapter's exercises is `solutions/NN_name.ipynb`; `course_lib.grading.release` says how it is written.
Nothing here imports a model.
"""
