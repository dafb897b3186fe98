"""Who imports whom: the engine nothing above itself, and no module itself by a detour."""

import ast
from pathlib import Path

import pytest

from {{ cookiecutter.package_name }} import engine

ROOT = Path(engine.__file__).parents[1]
MODULES = {
    path.relative_to(ROOT).with_suffix("").parts: path
    for path in sorted(ROOT.rglob("*.py"))
    if "__pycache__" not in path.parts
}
MOST_FILES = 15  # at the top of the package: what an owner sees on one screen


def imports_of(parts: tuple[str, ...], *, late: bool) -> set[tuple[str, ...]]:
    """Modules of this package that a module imports, relative to the package.

    Args:
        late: also those that its functions import.
    """
    tree = ast.parse(MODULES[parts].read_text(encoding="utf-8"))
    checks = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.dump(n)]
    hidden = {id(child) for node in checks for child in ast.walk(node)}
    nodes = ast.walk(tree) if late else iter(tree.body)
    found = set()
    for node in nodes:
        if not isinstance(node, ast.ImportFrom) or not node.level or id(node) in hidden:
            continue
        base = parts[: len(parts) - node.level]
        module = (*base, *(node.module.split(".") if node.module else ()))
        for alias in node.names:
            inner = (*module, alias.name)
            found.add(next((m for m in (inner, (*inner, "__init__")) if m in MODULES), module))
    return {name if name in MODULES else (*name, "__init__") for name in found}


def test_the_engine_imports_nothing_above_itself() -> None:
    for parts in MODULES:
        if parts[0] == "engine":
            above = {name for name in imports_of(parts, late=True) if name[0] != "engine"}
            assert not above, f"{'.'.join(parts)} imports {above}"


@pytest.mark.parametrize("parts", MODULES, ids=".".join)
def test_no_module_imports_itself_by_a_detour(parts: tuple[str, ...]) -> None:
    seen, waiting = set(), [parts]
    while waiting:
        for name in imports_of(waiting.pop(), late=False):
            assert name != parts, f"{'.'.join(parts)} is imported by what it imports"
            if name not in seen:
                seen.add(name)
                waiting.append(name)


def test_an_owner_sees_their_files_on_one_screen() -> None:
    top = [".".join(parts) for parts in MODULES if len(parts) == 1]
    assert len(top) <= MOST_FILES, top
