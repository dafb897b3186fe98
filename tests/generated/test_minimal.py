"""A project without optional features: one that a person can read in an afternoon."""

import ast
import io
import tokenize
from collections.abc import Callable
from pathlib import Path

import pytest

from aistart.catalog import find_templates

# Lines of code: without docstrings, comments and blank lines.
MOST_LINES = {
    "language-model": 10_700,
    "medical-diagnosis": 8_750,
    "recommender": 7_400,
    "text-classifier": 7_150,
    "vision-classifier": 6_400,
}
IGNORED = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


@pytest.fixture(params=find_templates())
def template(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def package(template: str, aistart: Callable, isolated: Path) -> Path:
    """The package of a minimal project."""
    assert aistart("new", template, "demo", "-y", "--minimal", "--no-git").exit_code == 0
    return isolated / "demo/src/demo"


def count_code(text: str) -> int:
    """Return the number of lines with code, without docstrings, comments and blank lines."""
    documented = set()
    for node in ast.walk(ast.parse(text)):
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            documented |= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in IGNORED:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - documented)


def test_lines_of_code_are_counted() -> None:
    text = '"""Of a module,\non two lines."""\n\n# why\nx = [\n    1,  # one\n]\ny = """a\nb"""\n'
    assert count_code(text) == 5


def test_it_is_read_in_an_afternoon(template: str, package: Path) -> None:
    counts = {path: count_code(path.read_text()) for path in package.rglob("*.py")}
    largest = sorted(counts, key=lambda path: -counts[path])[:10]
    shown = ", ".join(f"{path.relative_to(package)} {counts[path]}" for path in largest)
    assert sum(counts.values()) <= MOST_LINES[template], shown


def test_nothing_refers_to_a_feature_that_is_left_out(package: Path) -> None:
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                module = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                assert find_file(module), f"{path.relative_to(package)}: {ast.unparse(node)}"
                if not module.with_suffix(".py").is_file():
                    names = (module / "__init__.py").read_text()
                    for alias in node.names:
                        assert find_file(module / alias.name) or alias.name in names, alias.name


def find_file(module: Path) -> Path | None:
    """Return the file of a module or package, if there is one."""
    places = (module.with_suffix(".py"), module / "__init__.py")
    return next((path for path in places if path.is_file()), None)
