"""Arrows point down only: which part of the library may import which."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).resolve().parents[1] / "course_lib"
GROUND = {"compat", "tiers", "data", "nn", "distributions", "checkpoints", "sampling"}
MAY_IMPORT = {
    **{name: GROUND for name in GROUND},
    "metrics": GROUND | {"metrics"},
    "models": GROUND | {"metrics", "models"},
    "training": GROUND | {"metrics", "models", "training"},
    "viz": GROUND | {"metrics", "viz"},
    "grading": {"grading"},
}
PARTS = sorted({p.relative_to(LIBRARY).parts[0].removesuffix(".py") for p in LIBRARY.rglob("*.py")})


def imported(path: Path) -> set[str]:
    """Parts of the library that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "course_lib":
            names = [f"course_lib.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        found |= {name.split(".")[1] for name in names if name.startswith("course_lib.")}
    return found


@pytest.mark.parametrize("part", [part for part in PARTS if part not in ("__init__", "__main__", "cli")])
def test_arrows_point_down(part):
    assert part in MAY_IMPORT, f"say in tests/test_architecture.py what {part} may import"
    files = [LIBRARY / f"{part}.py"] if (LIBRARY / f"{part}.py").exists() else (LIBRARY / part).rglob("*.py")
    for file in files:
        beyond = imported(file) - MAY_IMPORT[part]
        assert not beyond, f"{file.relative_to(LIBRARY.parent)} imports {', '.join(sorted(beyond))}"


@pytest.mark.parametrize("path", sorted((LIBRARY / "models").glob("*.py")), ids=lambda path: path.stem)
def test_a_family_reads_in_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_nothing_is_unpickled_unsafely():
    for path in [*LIBRARY.rglob("*.py"), *(LIBRARY.parent / "book").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = ast.unparse(node.func)
                options = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                if called == "torch.load":
                    assert options.get("weights_only") == "True", path
                if called in ("np.load", "numpy.load"):
                    assert options.get("allow_pickle") == "False", path
                assert called not in ("pickle.load", "pickle.loads"), path
