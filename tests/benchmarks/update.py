"""``aistart update``: how long it takes, and whether an edit is ever lost.

    python -m tests.benchmarks.update [SCENARIOS]

Times are medians of whole commands, with the start of Python; scenarios are those of
``tests/generator/scenarios.py``.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from aistart.catalog import templates_root
from tests.generator.scenarios import run_scenarios
from tests.generator.updates import commit

AISTART = [sys.executable, "-m", "aistart"]
REPEATS = 9
EDITS = 10  # files that the user has edited
SCENARIOS = 1000


def run_aistart(*words: str, templates: Path) -> float:
    """Run a command with other templates, and return its seconds."""
    code = (
        "import sys\nfrom pathlib import Path\nimport aistart.catalog\n"
        "aistart.catalog.templates_root = lambda: Path(sys.argv.pop(1))\n"
        "from aistart.__main__ import main\nmain()\n"
    )
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, str(templates), *words], capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(f"{words}: {done.stdout}{done.stderr}")
    return seconds


def change_templates(source: Path, target: Path, every: int) -> None:
    """Copy the templates; each ``every``-th Python and Markdown file gets one more line."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    files = sorted(path for path in target.rglob("*") if path.suffix in (".py", ".md", ".yaml"))
    for path in files[::every]:
        if path.is_relative_to(target / "layers") or "vision-classifier" in path.parts:
            path.write_text(path.read_text(encoding="utf-8") + "\n# A new line.\n", "utf-8")


def measure_commands(folder: Path) -> list[tuple[str, float, int]]:
    """Measure commands on a project of the vision template; return name, seconds and files."""
    root = templates_root()
    changed = folder / "templates"
    change_templates(root, changed, every=6)
    run_aistart(
        *("new", "vision-classifier", "demo", "-y", "-q"), *("-o", str(folder)), templates=root
    )
    project = folder / "demo"
    sources = sorted(project.glob("src/demo/*.py"))
    for path in sources[:EDITS]:
        path.write_text("# mine\n" + path.read_text("utf-8"), "utf-8")
    commit(project)
    count = sum(path.is_file() for path in project.rglob("*") if ".git" not in path.parts)

    def reset() -> None:
        for words in (["checkout", "-q", "--", "."], ["clean", "-fdq"]):
            subprocess.run(["git", *words], cwd=project, check=True)

    def median(*words: str, templates: Path) -> float:
        seconds = []
        for _ in range(REPEATS):
            reset()
            seconds.append(run_aistart(*words, templates=templates))
        return statistics.median(seconds)

    place = str(project)
    update = median("update", place, templates=changed)
    status = ["git", "-C", place, "status", "--porcelain"]
    files = len(subprocess.run(status, capture_output=True, text=True).stdout.splitlines())
    return [
        ("update", update, files),
        ("update, nothing is due", median("update", place, templates=root), 0),
        (
            "update --set license=MIT",
            median("update", place, "--set", "license=MIT", templates=root),
            1,
        ),
        ("add compose", median("add", "compose", "-C", place, templates=root), 0),
        ("diff", median("diff", "-C", place, templates=root), EDITS),
        ("status", median("status", place, templates=root), count),
    ]


def main() -> None:
    """Print a table of times and the result of the scenarios."""
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["HOME"] = temporary
        print(f"{'command':<28} {'seconds':>8} {'files':>6}")
        for name, seconds, files in measure_commands(Path(temporary)):
            print(f"{name:<28} {seconds:>8.2f} {files:>6}", flush=True)
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
