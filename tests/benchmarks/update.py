"""``aistart update``: how long it takes, and whether an edit is ever lost.

    python -m tests.benchmarks.update [SCENARIOS]

Times are medians of whole commands, with the start of Python; scenarios are those of
``tests/generator/scenarios.py``.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from aistart.catalog import templates_root
from tests.generator.scenarios import run_scenarios
from tests.generator.updates import commit, run_git

REPEATS = 9
EDITS = 10  # files that the user has edited
SCENARIOS = 1000


def run_aistart(*words: str, templates: Path) -> tuple[float, float]:
    """Run a command with other templates, and return its seconds: on the clock, and of CPU."""
    code = (
        "import sys\nfrom pathlib import Path\nimport aistart.catalog\n"
        "root = Path(sys.argv.pop(1))\naistart.catalog.templates_root = lambda: root\n"
        "from aistart.__main__ import main\nmain()\n"
    )
    command = [sys.executable, "-c", code, str(templates), *words]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{words}: {done.stdout}{done.stderr}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def change_templates(source: Path, target: Path, every: int) -> None:
    """Copy the templates; each ``every``-th Python and Markdown file gets one more line."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    files = sorted(path for path in target.rglob("*") if path.suffix in (".py", ".md", ".yaml"))
    for path in files[::every]:
        if path.is_relative_to(target / "layers") or "vision-classifier" in path.parts:
            path.write_text(path.read_text(encoding="utf-8") + "\n# A new line.\n", "utf-8")


def measure_commands(folder: Path) -> Iterator[str]:
    """Measure commands on a project of the vision template, and yield the lines of a table."""
    root, changed, project = templates_root(), folder / "templates", folder / "demo"
    change_templates(root, changed, every=6)
    new = ("new", "vision-classifier", "demo", "-y", "-q", "-o", str(folder))
    run_aistart(*new, templates=root)
    for path in sorted(project.glob("src/demo/*.py"))[:EDITS]:
        path.write_text("# mine\n" + path.read_text("utf-8"), "utf-8")
    commit(project)
    files = run_git(project, "ls-files").splitlines()
    yield f"a project of {len(files)} files, {EDITS} of them edited; medians of {REPEATS} runs"
    yield f"{'command':<28} {'seconds':>8} {'CPU':>6} {'files that change':>18}"
    place = str(project)
    for title, templates, words in (
        ("update", changed, ["update", place]),
        ("update, nothing is due", root, ["update", place]),
        ("update --set license=MIT", root, ["update", place, "--set", "license=MIT"]),
        ("add compose", root, ["add", "compose", "-C", place]),
        ("diff", root, ["diff", "-C", place]),
        ("status", changed, ["status", place]),
    ):
        runs = []
        for _ in range(REPEATS):
            run_git(project, "checkout", "-q", "--", ".")
            run_git(project, "clean", "-fdq")
            runs.append(run_aistart(*words, templates=templates))
        seconds, cpu = (statistics.median(values) for values in zip(*runs, strict=True))
        count = len(run_git(project, "status", "--porcelain", "-uall").splitlines())
        yield f"{title:<28} {seconds:>8.2f} {cpu:>6.2f} {count:>18}"


def main() -> None:
    """Print a table of times and the result of the scenarios."""
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["HOME"] = temporary
        for line in measure_commands(Path(temporary)):
            print(line, flush=True)
        count = int(sys.argv[1]) if len(sys.argv) > 1 else SCENARIOS
        workers = os.cpu_count() or 1
        with ProcessPoolExecutor(workers) as pool:
            parts = [range(part, count, workers) for part in range(workers)]
            results = list(pool.map(run_scenarios, parts))
        problems = [problem for found, _ in results for problem in found]
        conflicts = sum(number for _, number in results)
        print(f"\n{count} scenarios, {conflicts} updates with conflicts, {len(problems)} problems")
        print("\n".join(problems))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
