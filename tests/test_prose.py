"""The pages that are not notebooks: what they cite, name and promise exists."""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "book").glob("*.md"))]
CHAPTERS = 22


def bibliography():
    """The entries of `book/references.bib` by key; pybtex refuses a key that stands twice."""
    from pybtex.database import parse_file

    return parse_file(str(ROOT / "book" / "references.bib")).entries


def glossary_terms() -> list[str]:
    """The terms of the glossary, in its order."""
    body = (
        (ROOT / "book" / "glossary.md").read_text(encoding="utf-8").split("```{glossary}")[1].split("```")[0]
    )
    return [line.strip() for line in body.splitlines() if line and not line.startswith((" ", ":"))]


def texts() -> dict[str, str]:
    """Every text of the book: its pages and its notebooks' Markdown cells."""
    found = {path.name: path.read_text(encoding="utf-8") for path in PAGES}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        found[path.name] = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return found


def test_bibliography_is_well_formed():
    entries = bibliography()
    assert len(entries) >= 120
    venues = {
        "article": "journal",
        "inproceedings": "booktitle",
        "incollection": "booktitle",
        "book": "publisher",
    }
    for key, entry in entries.items():
        assert re.fullmatch(r"[a-z]+(\d{4}|-)[a-z]+", key), f"{key}: keys are author, year, word"
        assert entry.persons.get("author"), f"{key} has no author"
        needed = {"title", venues.get(entry.type, "title")} | (
            {"year"} if re.search(r"\d{4}", key) else set()
        )
        assert needed <= set(entry.fields), f"{key} lacks {needed - set(entry.fields)}"
        assert entry.fields.get("year", "") in key, f"{key}: its year is {entry.fields['year']}"
        pages = entry.fields.get("pages", "1--2")
        if first_last := re.fullmatch(r"(\d+)--(\d+)", pages):
            assert int(first_last[1]) <= int(first_last[2]), f"{key}: pages {pages}"
        else:
            assert re.fullmatch(r"e\d+", pages), f"{key}: pages {pages!r}"


def test_no_work_stands_twice_in_the_bibliography():
    titles = [re.sub(r"\W", "", entry.fields["title"]).lower() for entry in bibliography().values()]
    assert len(set(titles)) == len(titles)


def test_citations_are_in_the_bibliography():
    known = set(bibliography())
    for name, text in texts().items():
        cited = {
            key.strip() for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", text) for key in keys.split(",")
        }
        assert cited <= known, f"{name} cites {cited - known}"


def test_glossary_terms_are_unique():
    terms = [term.lower() for term in glossary_terms()]
    assert len(terms) >= 80
    assert len(set(terms)) == len(terms)


def test_terms_that_are_referred_to_are_in_the_glossary():
    known = {term.lower() for term in glossary_terms()}
    for name, text in texts().items():
        used = {term.lower() for term in re.findall(r"\{term\}`(?:[^`<]*<)?([^`<>]+)>?`", text)}
        assert used <= known, f"{name} refers to {used - known}"


def test_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for path in PAGES:
        named = set(re.findall(r"(?:^|`)make ([\w-]+)", path.read_text(encoding="utf-8"), re.MULTILINE))
        assert named <= targets, f"{path.name} names make {named - targets}"


def test_subcommands_exist(capsys):
    from course_lib.__main__ import main

    named = {
        match
        for path in PAGES
        for match in re.findall(r"python -m course_lib (\w+)", path.read_text(encoding="utf-8"))
    }
    assert {"train", "sample", "evaluate", "experiment", "release", "grade"} <= named
    for command in named:
        with pytest.raises(SystemExit) as stop:
            main([command, "--help"])
        assert stop.value.code == 0, f"there is no python -m course_lib {command}"


def test_files_that_are_named_exist():
    """Paths in backticks. A path with NN, NAME or * is a pattern, one in runs/ or _build/ is made by a command."""
    top = {path.name for path in ROOT.iterdir()} - {"_build", "runs"}
    for path in PAGES:
        text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for name in re.findall(r"`([\w./-]+/[\w./-]*)`", text):
            if name.split("/")[0] in top and not re.search(r"NN|NAME", name):
                assert (ROOT / name).exists() or name.startswith("book/generated"), (
                    f"{path.name} names {name}"
                )


def test_images_are_local_and_described():
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"!\[|<img", text), f"{path.name}: use the figure directive, with :alt:"
        for source, options in re.findall(r"```\{(?:figure|image)\} (\S+)\n((?::.*\n)*)", text):
            assert (path.parent / source).is_file(), f"{path.name} shows {source}"
            alt = re.search(r":alt: (.*)", options)
            assert alt, f"{path.name}: {source} has no alt text"
            assert len(alt[1]) > 40, f"{path.name}: {source} is not described"


def test_map_shows_every_chapter():
    svg = ElementTree.parse(ROOT / "book" / "figures" / "map.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert svg.find(f"{space}title").text
    assert svg.find(f"{space}desc").text
    shown = re.findall(r"\b\d\d\b", " ".join(text for e in svg.iter(f"{space}text") for text in e.itertext()))
    assert sorted(shown) == [f"{i:02d}" for i in range(1, CHAPTERS + 1)]
