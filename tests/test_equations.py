"""The registry of numbered equations: this repository's own, and each kind of problem in a small one."""

from pathlib import Path

import pytest
from nbformat import v4, write

from book import registry

ROOT = Path(__file__).resolve().parents[1]


def test_book_code_and_tests_agree():
    problems = registry.read(ROOT).problems()
    assert not problems, "\n".join(problems)


@pytest.fixture
def repository(tmp_path):
    """Write a repository that holds one chapter, one module and one test file, and read its registry."""

    def build(
        chapter="# 07 Toy\n\n$$ a = b $$ (toy-law)\n\nUse {eq}`toy-law`.",
        docstring="Implements: toy-law",
        marker='@pytest.mark.equation("toy-law")',
        exercise="Use {eq}`toy-law`.",
    ):
        for folder in ("notebooks", "exercises", "book", "course_lib/models", "tests"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, text in (("notebooks/07_toy", chapter), ("exercises/07_toy", exercise)):
            write(v4.new_notebook(cells=[v4.new_markdown_cell(text)]), tmp_path / f"{name}.ipynb")
        code = f'class Toy:\n    def law(self):\n        """The law.\n\n        {docstring}\n        """\n'
        (tmp_path / "course_lib/models/toy.py").write_text(code)
        (tmp_path / "tests/test_toy.py").write_text(f"import pytest\n\n{marker}\ndef test_law(): ...\n")
        return registry.read(tmp_path)

    return build


def test_consistent_repository_is_indexed(repository):
    found = repository()
    assert found.problems() == []
    assert found.code == {"toy-law": ["course_lib.models.toy.Toy.law"]}
    assert found.tests == {"toy-law": ["tests/test_toy.py::test_law"]}
    page = found.page()
    assert "## 07 Toy\n" in page
    assert (
        "| {eq}`toy-law` | `toy-law` | `course_lib.models.toy.Toy.law`<br>`tests/test_toy.py::test_law` |"
        in page
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"chapter": "$$ a $$ (toy-law)\n\n$$ b $$ (law)"}, "the label 'law' does not start with 'toy-'"),
        ({"chapter": "$$ a $$ (toy-law)\n\n$$\nb\n$$ (toy-law)"}, "defines 'toy-law' again"),
        (
            {"chapter": "$$ a $$ (toy-law) {eq}`toy-lwa`"},
            "cites the equation 'toy-lwa', which no chapter defines",
        ),
        ({"exercise": "{eq}`the law <toy-lwa>`"}, "exercises/07_toy.ipynb: cites the equation 'toy-lwa'"),
        ({"exercise": "$$ a $$ (toy-new)"}, "numbered equations stand in chapters only"),
        ({"docstring": "Implements: toy-law, toy-lwa"}, "Toy.law: implements 'toy-lwa', an equation that no"),
        (
            {"marker": '@pytest.mark.equation("toy-law", "toy-lwa")'},
            "test_law: verifies 'toy-lwa', an equation",
        ),
        ({"marker": "@pytest.mark.slow"}, "implements 'toy-law', and no test has @pytest.mark.equation"),
        ({"chapter": "$$ a $$ (toy-law)\n\n```{math}\nb\n```"}, "an equation in a {math} fence"),
        ({"chapter": "$$ a $$ (toy-law)\n\n````{prf:proof}\n```{math}\nb\n```\n````"}, "in a {math} fence"),
    ],
)
def test_each_kind_of_problem_is_found(repository, changes, problem):
    problems = repository(**changes).problems()
    assert len(problems) == 1
    assert problem in problems[0]


def test_examples_in_code_are_no_equations(repository):
    chapter = (
        "$$ a $$ (toy-law)\n\n```text\n$$ x $$ (label)\n```\n\nWrite `$$ ... $$ (label)`, then {eq}`toy-law`."
    )
    assert repository(chapter=chapter).problems() == []


def test_equation_inside_a_theorem_counts(repository):
    chapter = "```{prf:theorem} T\n:label: t\n\n$$\na\n$$ (toy-law)\n```"
    assert repository(chapter=chapter).problems() == []


def test_marker_on_a_parametrised_case_counts(repository):
    marker = '@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.equation("toy-law"))])'
    assert repository(marker=marker).problems() == []
