"""How well and how fast language models learn, against a plain PyTorch script and a trigram.

    python -m tests.benchmarks.language [shakespeare|python_docs|cache ...]

``shakespeare`` reads ``../shared/data/tinyshakespeare.txt`` and trains with the settings that
nanoGPT's README gives for a CPU, for which it publishes a validation loss of 1.88;
``plain_torch_gpt.py`` has the same settings and sees as many. ``python_docs`` is the default.
``cache`` writes the last of 512 tokens with and without the cache of keys and values. Exits with 1
if a limit does not hold.
"""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from tests.benchmarks.printing import Lines, print_table, table_line
from tests.benchmarks.training import SCRIPTS, environment_of, run, torch_python
from tests.environments import project_python

SHAKESPEARE = Path(__file__).resolve().parents[3] / "shared" / "data" / "tinyshakespeare.txt"
LAYERS, HEADS, CHANNELS, CONTEXT, BATCH, STEPS = 4, 4, 128, 64, 12, 2_000
MOST_LOSS = 1.80  # nats a character of the last tenth
LEAST_AHEAD, MOST_MINUTES = 0.10, 8.0  # of python_docs
LEAST_CACHE = 20.0  # times as fast at 512 tokens
# The default, and the size that nanoGPT's README gives for a GPU.
SIZES: dict[str, list[str]] = {"4 blocks of 160": [], "6 blocks of 384": ["6", "6", "384"]}

WRITE = """
import statistics, sys, time
import numpy as np
from demo.config import load_config
from demo.engine.strategy import prepare

names = ("layers", "heads", "embedding_dim")
words = [part for name, value in zip(names, sys.argv[1:]) for part in (f"--model.{name}", value)]
config = load_config([*words, "--model.context", "512", "--model.dropout", "0"])
prepare(config.runtime)
from demo import model
from demo.engine.artifact import Artifact
from demo.generation import decoder
from demo.preprocessing import Preprocessing
from demo.task import task
from demo.tokens import fit_bytes

PROMPT, TOKENS = 460, 50
preprocessing = Preprocessing(tokenizer=fit_bytes([], None), context=512)
artifact = Artifact(model.build(config, preprocessing), preprocessing, task)
for writer in (
    decoder.make_decoder(artifact, 1, 512),
    decoder.RereadingDecoder(artifact.network, 1, 512),
):
    for _ in range(2):  # the first time compiles
        writer.prefill(0, [token % 256 + 5 for token in range(PROMPT)])
        times = [time.perf_counter()]
        for token in range(TOKENS):
            writer.step(np.array([token + 5]), np.array([True]))
            times.append(time.perf_counter())
    print(1_000 * statistics.median(np.diff(times)))
"""


def shakespeare(project: Path) -> Lines:
    """Loss and tokens a second beside the plain script's, whose runs stand around ours.

    With as many blocks as the script, and with half of them: then it is both quicker and better.
    """
    if not SHAKESPEARE.is_file():
        print(f"`shakespeare` could not be measured: there is no {SHAKESPEARE}")
        return
    size, loss, before = run_script()
    words = ["--data.source", "text", "--data.path", str(SHAKESPEARE), "--data.tokens", "character"]
    words += ["--data.validation_fraction", "0.05", "--data.test_fraction", "0.05"]
    words += ["--data.batch_size", str(BATCH), "--model.context", str(CONTEXT)]
    words += ["--model.heads", str(HEADS), "--model.embedding_dim", str(CHANNELS)]
    words += ["--model.dropout", "0", "--train.max_steps", str(STEPS), "--train.epochs", "100"]
    words += ["--train.weight_decay", "0.1", "--tracking.enabled", "false"]
    for layers, least in ((LAYERS, None), (LAYERS // 2, 1.0)):
        folder = run(project, *words, "--model.layers", str(layers))
        summary = json.loads((folder / "summary.json").read_text())
        own_size, own_rate = summary["parameters"], training_rate(folder)
        own_loss = (last_loss(folder) + nats(summary["metrics"])) / 2
        after = run_script()[2]
        rate, before = (before + after) / 2, after  # machines are noisy: once before, once after
        name = f"`shakespeare`, {layers} blocks"
        cells = [f"{name}, nats a character", f"{own_loss:.4f}", f"{loss:.4f}", ""]
        yield table_line([*cells, f"at most {MOST_LOSS}"], own_loss <= MOST_LOSS)
        cells = [f"{name}, parameters", f"{own_size:,}", f"{size:,.0f}", f"{own_size / size:.2f}"]
        yield table_line([*cells, "at most 1.0"], own_size <= size)
        ratio = own_rate / rate
        cells = [f"{name}, tokens/s", f"{own_rate:,.0f}", f"{rate:,.0f}", f"{ratio:.2f}"]
        limit = "" if least is None else f"at least {least}"
        yield table_line([*cells, limit], least is None or ratio >= least)


def run_script() -> tuple[float, float, float]:
    """Parameters, loss and tokens a second of the plain script."""
    command = [str(torch_python()), str(SCRIPTS / "plain_torch_gpt.py"), str(SHAKESPEARE)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    size, loss, rate = map(float, done.stdout.split())
    return size, loss, rate


def training_rate(folder: Path) -> float:
    """Tokens a second of the first epoch, without the steps that compile and without validation."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["epoch"] == 1 and line["step"] >= 100]
    first, *_, last = [line for line in lines if "validation/loss" not in line["metrics"]]
    seconds = datetime.fromisoformat(last["time"]) - datetime.fromisoformat(first["time"])
    return float((last["step"] - first["step"]) * BATCH * CONTEXT / seconds.total_seconds())


def last_loss(folder: Path) -> float:
    """The lowest validation loss of a run, which is that of the model that it saved."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return min(
        m["validation/loss"] for line in lines if "validation/loss" in (m := line["metrics"])
    )


def nats(metrics: dict[str, float]) -> float:
    """The test loss in nats a token."""
    return math.log(metrics["test/perplexity"])


def python_docs(project: Path) -> Lines:
    """Bits a byte of the defaults against the interpolated trigram, and the minutes they take."""
    folder = run(project, "--tracking.enabled", "false")
    summary = json.loads((folder / "summary.json").read_text())
    own = summary["metrics"]["test/bits_per_byte"]
    rows = {row["name"]: row["metrics"]["test/bits_per_byte"] for row in summary["baselines"]}
    trigram = next(value for name, value in rows.items() if "trigram" in name)
    minutes, ahead = summary["seconds"]["total"] / 60, 1 - own / trigram
    holds = ahead >= LEAST_AHEAD and minutes <= MOST_MINUTES
    cells = [f"`python_docs`, bits a byte, {minutes:.1f} minutes", f"{own:.4f}", f"{trigram:.4f}"]
    limit = f"at least {LEAST_AHEAD:.0%} fewer in at most {MOST_MINUTES:.0f} minutes"
    yield table_line([*cells, f"{ahead:.1%} fewer", limit], holds)


def measure_cache(project: Path) -> Lines:
    """A further token of a text of 460 to 510 tokens, with and without the cache."""
    for name, words in SIZES.items():
        command = [str(project_python()), "-c", WRITE, *words]
        done = subprocess.run(
            command,
            cwd=project,
            env=environment_of(project),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        own, without = map(float, done.stdout.split())
        ratio = without / own
        cells = [f"`cache`, {name}, ms a token", f"{own:.2f}", f"{without:.1f}", f"{ratio:.1f}"]
        yield table_line([*cells, f"at least {LEAST_CACHE:.0f}"], ratio >= LEAST_CACHE)


HEADER = "| what | ours | beside | ratio | limit | |"
MEASUREMENTS: dict[str, Callable[[Path], Lines]] = {
    "shakespeare": shakespeare,
    "python_docs": python_docs,
    "cache": measure_cache,
}


if __name__ == "__main__":
    sys.exit(print_table("language", "language-model", HEADER, MEASUREMENTS))
