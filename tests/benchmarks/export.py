"""Which formats hold which models: the tables in the README of generated projects.

    python -m tests.benchmarks.export [--write] [TEMPLATE | TEMPLATE:MODEL …]

Trains each quick model of a template for some steps (``STEPS``) on the default data, exports it in
each format with each quantisation, and prints a row of Markdown: ``yes`` where the result passed
the check of ``export`` (in float32 no output differs by more than 1e-4, rounded the leading metric
falls by 0.02 at most), else ``no``, and why on standard error. ``--write`` puts the rows into
``templates/TEMPLATE/features/export``. Large pretrained networks are only measured when they are
named, such as ``vision-classifier:efficientnetv2b0``.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from aistart.answers import resolve
from aistart.catalog import find_template
from aistart.project import Request, create
from tests.environments import REPOSITORY, project_python

STEPS = 200
MODELS = {
    "vision-classifier": ("cnn", "mlp", "resnet"),
    "text-classifier": ("bag_cnn", "bag", "cnn", "bilstm", "transformer"),
    "medical-diagnosis": ("ensemble", "wide_deep", "mlp", "logistic"),
    "recommender": ("sasrec_transitions", "sasrec", "two_tower", "mf"),
}
# Networks that are not trained here: their weights are random, and so is what they answer.
WORDS = {"vgg16": ["--model.weights", "none"], "efficientnetv2b0": ["--model.weights", "none"]}
EXPORTS = """
import json, os, sys, tempfile
from pathlib import Path
from demo.engine import strategy
from demo.engine.config_fields import RuntimeFields

os.environ["KERAS_BACKEND"] = "tensorflow"
strategy.prepare(RuntimeFields(backend="tensorflow"))
from demo.config import load_config
from demo.engine.errors import ProjectError, describe
from demo.engine.export.formats import FORMATS, find_format
from demo.engine.export.write import Request, export
from demo.engine.runs import all_runs
from demo.engine.trained_models import find_artifact
from demo.task import task

run = all_runs()[-1]
model, file = find_artifact(run.id, task, load_config([]))
config = load_config([], base=file)
data = task.load(config, model.preprocessing)
for name, found in FORMATS.items():
    for quantization in (None, *found.quantizations):
        request = Request(run.id, run.model_file, name, quantization, 0.02)
        target = Path(tempfile.mkdtemp()) / "export"
        try:
            comparison = export(model, data, find_format(name, quantization), request, target)
            result = {"holds": True, "report": comparison.to_json()}
        except ProjectError as error:
            result = {"holds": False, "reason": describe(error)[0]}
        result |= {"format": name, "quantization": quantization}
        print("RESULT " + json.dumps(result), flush=True)
"""


def main(words: list[str]) -> None:
    """Print the rows of the models that the words name, or of all quick ones."""
    write = "--write" in words
    for word in [word for word in words if word != "--write"] or list(MODELS):
        template, _, model = word.partition(":")
        rows = [
            measure_model(template, name, first=not model and number == 0)
            for number, name in enumerate([model] if model else MODELS[template])
        ]
        print("\n".join(rows), flush=True)
        if write and not model:
            write_table(template, rows)


def measure_model(template: str, model: str, first: bool) -> str:
    """Train a model and return its row.

    Args:
        template: of the project.
        model: a name of its ``MODELS``.
        first: whether it is the default.
    """
    with tempfile.TemporaryDirectory() as folder:
        chosen = find_template(template)
        answers = resolve(chosen, {"project_name": "demo"})
        project = create(Request(chosen, answers, Path(folder), ("export",), repository=False))
        words = ["--model.name", model, "--train.max_steps", str(STEPS), *WORDS.get(model, [])]
        words += ["--measure", "validation", "--tracking.enabled", "false"]
        run_in(project, "-m", "demo", "train", *words)
        printed = run_in(project, "-c", EXPORTS)
    lines = [line for line in printed.splitlines() if line.startswith("RESULT ")]
    results = [json.loads(line.removeprefix("RESULT ")) for line in lines]
    for result in results:
        print(f"{template} {model}: {describe(result)}", file=sys.stderr, flush=True)
    name = f"`{model}` (default)" if first else f"`{model}`"
    return f"| {' | '.join([name, *('yes' if r['holds'] else 'no' for r in results)])} |"


def describe(result: dict) -> str:
    """Return a result in words."""
    name = f"{result['format']} {result['quantization'] or 'float32'}"
    if not result["holds"]:
        return f"{name}: {result['reason']}"
    report = result["report"]
    original, exported = report["original"], report["exported"]
    metric = report["headline"]
    return (
        f"{name}: differs by {report['difference']:.2g} of {report['largest']:.3g}, "
        f"{metric} {original['metrics'][metric]:.4f} -> {exported['metrics'][metric]:.4f}, "
        f"{original['bytes'] / 1e3:.0f} -> {exported['bytes'] / 1e3:.0f} kB, "
        f"{original['milliseconds']:.3g} -> {exported['milliseconds']:.3g} ms"
    )


def write_table(template: str, rows: list[str]) -> None:
    """Replace the rows of the table in a template's section of the README."""
    (file,) = (REPOSITORY / "templates" / template / "features/export/templates").iterdir()
    text = file.read_text("utf-8")
    table = re.compile(r"(^\| --- .*\n)((?:^\|.*\n)*)", re.MULTILINE)
    file.write_text(table.sub(lambda match: match[1] + "\n".join(rows) + "\n", text), "utf-8")


def run_in(project: Path, *words: str) -> str:
    """Run Python in a project and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(project / "src")}
    done = subprocess.run(
        [str(project_python()), *words],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-2_000:])
    return done.stdout


if __name__ == "__main__":
    main(sys.argv[1:])
