"""How well and how fast the text template learns, against TF-IDF and a plain Keras script.

    python -m tests.benchmarks.texts [tickets|waimai|en|ja|all|speed ...]

``tickets`` are the generated ones; ``waimai`` are short Chinese reviews, read from
``../shared/data`` where they are there; ``en`` and ``ja`` are descriptions of Debian's packages by
section (``descriptions.py``, which asks the network). Each is split and learnt with three seeds;
their mean must not be behind TF-IDF, and that of all must be ahead. ``speed`` is in tokens a
second, padding not counted, on generated texts of very different lengths. Exits with 1 if a limit
does not hold.
"""

import csv
import json
import statistics
import sys
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

from tests.benchmarks import descriptions
from tests.benchmarks.printing import Lines, print_table, table_line
from tests.benchmarks.training import compare, project_rate, run, script_rate
from tests.environments import project_python

SETS = ("tickets", "waimai", "en", "ja")
SEEDS = (0, 1, 2)
WAIMAI = Path(__file__).parents[3] / "shared" / "data" / "waimai_10k.csv"
FROM_BEST = 0.01  # of what can be reached with the generated tickets
MOST_SECONDS = 600
MOST_TOKENS = 512
TEXTS = 3_000
EPOCHS = (12, 4)  # project, plain script


def learnt(project: Path, name: str) -> Lines:
    """A line of the table for each seed and their mean, and whether it is as it must be."""
    if name == "waimai" and not WAIMAI.is_file():
        print(f"`waimai` could not be measured: there is no {WAIMAI}")
        return
    for seed in SEEDS:
        summary = summary_of(project, name, seed)
        pair, seconds = accuracies(summary), summary["seconds"]["total"]
        best = summary["data"].get("best_reachable_accuracy")
        holds = seconds <= MOST_SECONDS and (best is None or pair[0] >= best - FROM_BEST)
        cells = [name, summary["data"]["train"], seed, *shown(pair), best or "", seconds]
        yield table_line(cells, holds)
    pair = mean_of(project, [name])
    yield table_line([name, "", "mean", *shown(pair), "", ""], pair[0] >= pair[1])


def all_sets(project: Path) -> Lines:
    """The mean of all sets that are there."""
    there = [name for name in SETS if name != "waimai" or WAIMAI.is_file()]
    pair = mean_of(project, there)
    yield table_line(["all", "", "mean", *shown(pair), "", ""], pair[0] > pair[1])


@cache
def summary_of(project: Path, name: str, seed: int) -> dict[str, Any]:
    """That of a run of the default model on a set, which is split with the same seed."""
    words = ["--train.seed", str(seed), "--data.split_seed", str(seed)]
    if name != "tickets":
        file = WAIMAI if name == "waimai" else described(project, name)
        words += ["--data.source", "csv", "--data.path", str(file)]
    if name == "waimai":
        words += ["--data.text_column", "review"]
    return json.loads((run(project, *words) / "summary.json").read_text())


@cache
def described(project: Path, language: str) -> Path:
    """A file of descriptions of packages."""
    file = project / f"{language}.csv"
    descriptions.write(language, file)
    return file


def mean_of(project: Path, names: Iterable[str]) -> tuple[float, float]:
    """Accuracies of the default and of TF-IDF over all seeds of these sets."""
    pairs = [accuracies(summary_of(project, name, seed)) for name in names for seed in SEEDS]
    ours, peers = zip(*pairs, strict=True)
    return statistics.mean(ours), statistics.mean(peers)


def accuracies(summary: dict[str, Any]) -> tuple[float, float]:
    """Those of the default and of TF-IDF."""
    measured = (summary, summary["baselines"][-1])
    ours, peer = (found["metrics"]["test/accuracy"] for found in measured)
    return ours, peer


def shown(pair: tuple[float, float]) -> list[str]:
    return [f"{accuracy:.4f}" for accuracy in pair]


def speed(project: Path) -> Lines:
    """Tokens per second of the ``cnn`` against a script that pads all texts to the longest."""
    file = project / "lengths.csv"
    random = Random(0)
    # As reviews are: half of them shorter than 90 words, some longer than can be taken.
    drawn = (int(random.lognormvariate(4.5, 0.8)) for _ in range(TEXTS))
    lengths = [min(max(length, 5), 2 * MOST_TOKENS) for length in drawn]
    with file.open("w", newline="", encoding="utf-8") as opened:
        writer = csv.writer(opened)
        writer.writerow(["text", "label"])
        for length in lengths:
            label = random.randrange(2)
            ranks = [int(random.paretovariate(0.3)) % 20_000 for _ in range(length)]
            writer.writerow([" ".join(f"w{rank}" for rank in ranks) + f" kind{label}", label])
    words = ["--data.source", "csv", "--data.path", str(file), "--model.name", "cnn"]
    words += ["--data.sequence_length", str(MOST_TOKENS)]

    def tokens_per_second() -> float:
        steps = project_rate(project, EPOCHS[0], *words)
        newest = max(project.glob("runs/*/summary.json"), key=lambda path: path.stat().st_mtime)
        size = json.loads(newest.read_text())["data"]["train"]
        kept = statistics.mean(min(length + 1, MOST_TOKENS) for length in lengths)
        return steps * kept * size / -(-size // 32)

    peer = [str(file), str(MOST_TOKENS), "--epochs", str(EPOCHS[1])]
    row = compare(
        "`cnn`, tokens/s / `Model.fit`, all padded to 512",
        tokens_per_second,
        partial(script_rate, project_python(), "padded_keras.py", *peer),
        least=2.0,
    )
    yield str(row), row.holds


HEADER = "| texts | training texts | seed | accuracy | TF-IDF | best reachable | seconds | |"
MEASUREMENTS: dict[str, Callable[[Path], Lines]] = {
    **{name: partial(learnt, name=name) for name in SETS},
    "all": all_sets,
    "speed": speed,
}


if __name__ == "__main__":
    sys.exit(print_table("texts", "text-classifier", HEADER, MEASUREMENTS))
