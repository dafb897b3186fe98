"""A real log for the benchmarks: which module a Python file imports after which.

    python -m tests.benchmarks.imports FILE

The users are the files of the packages that are installed beside this interpreter, and of its own
library; what they "had" are the modules they import, in their order. Files that import the same in
the same order count once; modules that few files import are left out. Nothing is downloaded.
"""

import argparse
import ast
import csv
import random
import sysconfig
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

EVENTS = 100_000
FEWEST = 5  # imports of a file, and files of a module


def write(file: Path) -> int:
    """Write a table with the columns user, item and timestamp, and return how many rows it has."""
    found: dict[tuple[str, ...], str] = {}
    for folder in sorted({Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib")}):
        for path in sorted(folder.rglob("*.py")):
            if folder.name != "site-packages" and "site-packages" in path.parts:
                continue
            name = str(path.relative_to(folder))
            modules = tuple(dict.fromkeys(_imported(path, name)))
            if len(modules) >= FEWEST:
                found.setdefault(modules, name)
    files = sorted((name, modules) for modules, name in found.items())
    random.Random(0).shuffle(files)
    counts = Counter(module for _, modules in files for module in modules)
    rows: list[tuple[str, str, int]] = []
    for name, modules in files:
        if len(rows) >= EVENTS:
            break
        rows += [
            (name, module, place)
            for place, module in enumerate(modules)
            if counts[module] >= FEWEST
        ]
    with file.open("w", newline="", encoding="utf-8") as opened:
        csv.writer(opened).writerows([("user", "item", "timestamp"), *rows])
    return len(rows)


def read(file: Path) -> dict[str, list[str]]:
    """What each user had, in its order."""
    with file.open(newline="", encoding="utf-8") as opened:
        rows = [(row["user"], int(row["timestamp"]), row["item"]) for row in csv.DictReader(opened)]
    had: dict[str, list[str]] = {}
    for user, _, item in sorted(rows):
        had.setdefault(user, []).append(item)
    return had


def _imported(path: Path, name: str) -> Iterator[str]:
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return
    package = Path(name).parent.parts
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in sorted(statements, key=lambda node: (node.lineno, node.col_offset)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            above = package[: len(package) - node.level + 1] if node.level else ()
            yield ".".join([*above, *([node.module] if node.module else [])]) or "."


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.imports")
    parser.add_argument("file", type=Path)
    file = parser.parse_args().file
    print(f"{write(file)} events: {file}")


if __name__ == "__main__":
    main()
