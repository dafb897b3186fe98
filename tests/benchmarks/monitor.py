"""False alarms of ``monitor`` on unchanged data, and its power on changed data.

    python -m tests.benchmarks.monitor [TEMPLATE …]

For each template a small model is trained on the default data. All examples, with the model's
answers to them, are then divided at random into a reference and a sample, 200 times for each size:
so both are of one distribution. ``false`` is the share of the pairs in which any effect is past its
limit and its noise, ``limits alone`` the share in which any is past its limit. Then 50 samples of
each size are changed, and the share of alarms is the power.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.environments import REPOSITORY, project_python

TRAIN = {
    "vision-classifier": ["--train.max_steps", "80"],
    "text-classifier": ["--train.max_steps", "60"],
    "recommender": ["--train.max_steps", "40", "--data.limit", "20000"],
    "medical-diagnosis": ["--data.source", "cohort", "--train.max_steps", "60"],
}
MEASURE = """
import json, sys
from dataclasses import replace
import numpy as np
import tensorflow as tf
from demo.config import load_config
from demo.engine import strategy
strategy.prepare(load_config([]).runtime)
from demo.engine.monitoring.features import describe_answers, describe_split
from demo.engine.monitoring.profile import Profile, describe_columns
from demo.engine.monitoring.rules import read_monitor_rules
from demo.engine.monitoring.samples import Sample
from demo.engine.monitoring.verdict import judge
from demo.engine.runs import find_run
from demo.engine.trained_models import find_artifact
from demo.task import task

PAIRS, CHANGED, SIZES = 200, 50, (100, 300, 1000)
config = load_config(base=find_run("latest").config_file)
model, _ = find_artifact("latest", task, config)
data = task.load(config, model.preprocessing)
rules, random = read_monitor_rules(), np.random.default_rng(0)
private = task.has_private_examples


def describe(split):
    outputs = model.predict_split(split, 256)
    answers = describe_answers(task.decode_predictions(outputs, model.preprocessing))
    return {"inputs": describe_split(task, split, model.preprocessing), "predictions": answers}


def join(tables):
    return {
        part: {name: np.concatenate([t[part][name] for t in tables]) for name in tables[0][part]}
        for part in tables[0]
    }


def take(table, places):
    return {p: {n: v[places] for n, v in columns.items()} for p, columns in table.items()}


def alarms(reference, sample, size):
    parts = {part: describe_columns(columns, private) for part, columns in reference.items()}
    profile = Profile(parts, {}, is_private=private)
    counts = {part: profile.count(part, sample[part]) for part in parts}
    verdict = judge(profile, Sample(counts, size, 0, ""), rules)
    alone = any(m.limit is not None and m.value > m.limit for c in verdict.columns
                for m in c.measures)
    names = [c.name for c in verdict.columns if c.is_past]
    return bool(verdict.reasons), alone, names


def change_vision(split):
    raw = tf.cast(split.fetch(np.arange(len(split))), tf.float32) * 1.2
    brighter = tf.cast(tf.clip_by_value(raw, 0, 255), tf.uint8)
    yield "brightness +20 %", describe(replace(split, fetch=lambda at: tf.gather(brighter, at)))


def change_text(split):
    texts = [t.decode() for t in np.asarray(split.fetch(np.arange(len(split))))]
    foreign = "Il pacco non è arrivato e il servizio non risponde, che cosa devo fare per averlo?"
    for share in (0.05, 0.2):
        some = [foreign if random.random() < share else text for text in texts]
        table = tf.constant(some)
        changed = replace(split, fetch=lambda at, table=table: tf.gather(table, at))
        yield f"{share:.0%} in a new language", describe(changed)


def change_users(split):
    raw = {k: np.asarray(v) for k, v in split.fetch(np.arange(len(split))).items()}
    for title in ("half of each history", "10 % unknown items"):
        changed = {k: v.astype(object) for k, v in raw.items() if v.dtype == object}
        for name in ("history", "next_items"):
            there = changed[name] != b""
            if title.startswith("half"):
                changed[name][:, 1::2] = b""
            else:
                hit = there & (random.random(there.shape) < 0.1)
                changed[name] = np.where(hit, b"item of next year", changed[name])
        table = {k: tf.constant(v.tolist()) for k, v in changed.items()}
        table |= {k: tf.constant(v) for k, v in raw.items() if k not in changed}
        fetch = lambda at, table=table: {k: tf.gather(v, at) for k, v in table.items()}
        yield title, {**describe(split), "inputs": describe_split(
            task, replace(split, fetch=fetch), model.preprocessing)}


def change_patients(split):
    table = describe(split)
    numbers = [n for n, v in table["inputs"].items() if v.dtype.kind == "f"]
    texts = [n for n, v in table["inputs"].items() if v.dtype.kind != "f"]
    first = numbers[0]
    column = table["inputs"][first]
    missing = table["inputs"] | {first: np.full(len(column), np.nan)}
    yield f"{first} missing", {**table, "inputs": missing}
    shifted = table["inputs"] | {first: column + 0.5 * np.nanstd(column)}
    yield f"{first} + 0.5 deviations", {**table, "inputs": shifted}
    if texts:
        values = table["inputs"][texts[0]].copy()
        values[random.random(len(values)) < 0.1] = "a new value"
        yield f"10 % of {texts[0]} new", {**table, "inputs": table["inputs"] | {texts[0]: values}}


CHANGES = {"vision-classifier": change_vision, "text-classifier": change_text,
           "recommender": change_users, "medical-diagnosis": change_patients}
splits = [data.train] if task.name == "recommender" else [data.train, data.validation, data.test]
whole = join([describe(split) for split in splits])
total = len(next(iter(whole["predictions"].values())))
found = {"examples": total, "columns": sum(map(len, whole.values())), "false": {}, "power": {}}
for size in SIZES:
    if size > total // 3:
        continue
    results = []
    for _ in range(PAIRS):
        order = random.permutation(total)
        pair = (take(whole, order[size:]), take(whole, order[:size]))
        results.append(alarms(*pair, size))
    found["false"][size] = [float(np.mean([r[0] for r in results])),
                            float(np.mean([r[1] for r in results]))]
for title, changed in CHANGES[task.name](data.test if task.name != "recommender" else data.train):
    rest = whole if task.name == "recommender" else describe(data.train)
    count = len(next(iter(changed["predictions"].values())))
    for size in SIZES:
        if size > count:
            continue
        results = [alarms(rest, take(changed, random.permutation(count)[:size]), size)
                   for _ in range(CHANGED)]
        names = sorted({name for r in results for name in r[2]})
        found["power"][f"{title}, {size} rows"] = [float(np.mean([r[0] for r in results])), names]
print(json.dumps(found))
"""


def run(project: Path, *words: str) -> str:
    """Run Python in a project and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": "src", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [str(project_python()), *words]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return done.stdout


def measure(template: str, folder: Path) -> None:
    """Print the figures of a template."""
    aistart = [sys.executable, "-m", "aistart", "new", template, "demo", "-y", "--no-git", "-q"]
    words = [*aistart, "--with", "monitor", "-o", str(folder)]
    subprocess.run(words, cwd=REPOSITORY, check=True)
    project = folder / "demo"
    run(project, "-m", "demo", "train", "--tracking.enabled", "false", *TRAIN[template])
    found = json.loads(run(project, "-c", MEASURE).splitlines()[-1])
    print(f"\n{template}: {found['examples']} examples, {found['columns']} columns")
    for size, (false, alone) in found["false"].items():
        print(f"  {size:>5} rows, unchanged: false {false:.1%}, limits alone {alone:.1%}")
    for title, (power, names) in found["power"].items():
        print(f"  {title}: power {power:.0%} ({', '.join(names)})", flush=True)


def main() -> None:
    """Measure the templates that are named, or all."""
    for template in sys.argv[1:] or TRAIN:
        with tempfile.TemporaryDirectory() as folder:
            measure(template, Path(folder))


if __name__ == "__main__":
    main()
