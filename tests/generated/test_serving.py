"""Services of generated projects: answers as of `predict`, new models, and a shutdown under load.

The image classifier is trained once, with tracking, and served by few processes. The other
templates train, serve and predict in one process each.
"""

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.environments import project_python
from tests.generated import services
from tests.generated.servers import free_port, wait_for
from tests.generated.services import Load, RunningService

pytestmark = [pytest.mark.slow, pytest.mark.minutes(5), pytest.mark.xdist_group("serving")]

CLOSE = 1e-5  # of scores: batches of other sizes are summed in another order

# Versions 2 and 3 of the registered model, with the files of version 1, which is the champion.
REGISTER = """
import mlflow
from demo.config import load_config
from demo.engine.tracking.registry import Registry

Registry("demo", load_config([]).tracking)
client = mlflow.MlflowClient()
first = client.get_model_version("demo", "1")
model = first.source.removeprefix("models:/")
for _ in range(2):
    client.create_model_version("demo", first.source, run_id=first.run_id, model_id=model)
client.set_registered_model_alias("demo", "champion", "1")
"""
MOVE = """
import sys
import mlflow
from demo.config import load_config
from demo.engine.tracking.registry import Registry

Registry("demo", load_config([]).tracking)
mlflow.MlflowClient().set_registered_model_alias("demo", "champion", sys.argv[1])
"""

# Trains, serves until it has asked everything, predicts the same, and prints both.
TRAIN_SERVE_PREDICT = """
import contextlib, csv, io, json, os, signal, sys, threading, time, urllib.error, urllib.request
from demo.__main__ import main

with open("plan.json") as file:
    plan = json.load(file)
address, got = f"http://127.0.0.1:{plan['port']}", {"answers": [], "wrong": []}

def ask(path, body=None, kind="application/json"):
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    request = urllib.request.Request(address + path, content, {"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except OSError:
        return 0, None

def ask_everything():
    try:
        while ask("/readyz")[0] != 200:
            time.sleep(0.1)
        got["schema"] = ask("/schema")[1]["models"][0]["schema"]
        example = got["schema"]["examples"][0]
        rows = [example if row is None else row for row in plan["rows"]]
        got["rows"] = rows
        got["answers"] = [ask("/predict", row) for row in rows]
        got["many"] = ask("/predict", [*rows, {"no such field": 1}])
        got["explained"] = ask("/predict?explain=true", rows[0])
        got["wrong"] = [ask("/predict", {**example, **row}) for row in plan["wrong"]]
        got["missing"] = ask("/predict", {})
        if plan["text"]:
            got["raw"] = ask("/predict", plan["text"].encode(), "text/plain")
        got["again"] = ask("/predict", rows[0])
    finally:
        os.kill(os.getpid(), signal.SIGTERM)

assert main(["train", *plan["train"]]) == 0
thread = threading.Thread(target=ask_everything)
thread.start()
got["code"] = main(["serve", "--serve.port", str(plan["port"])])
thread.join()
with open("rows.csv", "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(got["rows"][0])
    writer.writerows(row.values() for row in got["rows"])
printed = io.StringIO()
with contextlib.redirect_stdout(printed):
    for words in plan["predict"]:
        assert main(["predict", "--json", *words]) == 0
got["predicted"] = [json.loads(line) for line in printed.getvalue().splitlines()]
print("\\n" + json.dumps(got))
"""


# === Every template answers as its `predict` does ===

SMALL = ["--train.max_steps", "5", "--data.limit", "400", "--tracking.enabled", "false"]
TEXT = "The parcel arrived two days late. Where is my refund?"
PLANS: dict[str, dict[str, Any]] = {
    "text-classifier": {
        "train": SMALL,
        "rows": [{"text": TEXT}],
        "predict": [[TEXT]],
        "wrong": [{"text": ""}, {"text": 3}, {"text": ["a"]}, {"text": "x" * 200_000}],
        "text": TEXT,
    },
    "medical-diagnosis": {
        "train": SMALL,
        "rows": [None],
        "predict": [["rows.csv"]],
        "wrong": [
            {"mean radius": "12,7 Jane Doe"},
            {"mean radius": -1},
            {"mean radius": [1.0]},
            {"mean radius": 1e999},
            {"name": "Jane Doe"},
        ],
        "text": "",
    },
    "recommender": {
        "train": [*SMALL[:2], *SMALL[4:]],  # all events: fewer know fewer users
        "rows": [None],
        "predict": [["--user", "u0000"]],
        "wrong": [
            {"user": "nobody"},
            {"user": "", "history": ["no such item"]},
            {"history": ["i000", 0.5]},
            {"history": ["i000"] * 20_000},
            {"only": ["no such item"]},
            {"top_k": 0},
            {"top_k": 1_000_000},
        ],
        "text": "",
    },
}


@pytest.mark.parametrize("template", PLANS)
def test_the_service_of_a_template_answers_as_predict_does(template: str) -> None:
    project = services.make_project(template)
    plan = PLANS[template] | {"port": free_port()}
    (project / "plan.json").write_text(json.dumps(plan))
    command = [str(project_python()), "-c", TRAIN_SERVE_PREDICT]
    own = services.environment(project)
    done = subprocess.run(command, cwd=project, env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:] + done.stdout[-3000:]
    got = json.loads(done.stdout.splitlines()[-1])
    assert got["code"] == 0
    for (status, answer), predicted in zip(got["answers"], got["predicted"], strict=True):
        assert status == 200
        assert_same(answer, predicted)
    assert got["again"] == got["answers"][0]
    assert got["many"][0] == 200
    assert "error" in got["many"][1][-1]
    if plan["text"]:
        assert_same(got["raw"][1], got["predicted"][0])
    assert got["explained"][0] == 200
    explanation = got["explained"][1]["explanation"]
    each = explanation if isinstance(explanation, list) else [explanation]  # of recommendations
    assert all(one["parts"] for one in each)
    for row, (status, answer) in zip(plan["wrong"], got["wrong"], strict=True):
        assert status in (400, 422), (row, answer)
        assert answer["error"].endswith("."), answer
        assert "Doe" not in json.dumps(answer)
    assert got["missing"][0] in (200, 422)  # some rows may lack everything
    assert "Doe" not in done.stdout[: done.stdout.rindex("\n{")]


def assert_same(answer: dict[str, Any], predicted: dict[str, Any]) -> None:
    """The service has answered what `predict` prints."""
    assert {"id", *answer} == set(predicted)
    assert answer["prediction"] == predicted["prediction"]
    assert answer["scores"] == pytest.approx(predicted["scores"], abs=CLOSE)
    for name in set(answer) - {"prediction", "scores", "explanation"}:
        assert answer[name] == pytest.approx(predicted[name]), name


# === The image classifier: one process for all of these ===


@cache
def make_tracked() -> Path:
    """A trained image classifier with three registered versions."""
    project = services.make_project("vision-classifier")
    done = services.call(project, "train", *services.QUICK)
    assert done.returncode == 0, done.stderr
    run_script(project, REGISTER)
    return project


def run_script(project: Path, script: str, *words: str) -> str:
    """Run Python in a project."""
    command = [str(project_python()), "-c", script, *words]
    own = services.environment(project)
    done = subprocess.run(command, cwd=project, env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project() -> Path:
    return make_tracked()


@pytest.fixture(scope="module")
def service(project: Path) -> Iterator[RunningService]:
    words = ["--model", "newest=latest", "--model", "champion=models:/demo@champion"]
    follow = ["--serve.follow", "true", "--serve.follow_seconds", "0.5"]
    # The last test ends it.
    running = RunningService(project, *words, *follow)
    running.wait_until_ready()
    yield running
    running.process.kill()
    running.process.wait()


@pytest.fixture(scope="module")
def image(project: Path) -> Path:
    """An image file of the project's data."""
    script = (
        "from sklearn.datasets import load_digits\nimport tensorflow as tf\n"
        "pixels = (load_digits().images[3] * 255 / 16).astype('uint8')[..., None]\n"
        "tf.io.write_file('digit.png', tf.io.encode_png(pixels))\n"
    )
    run_script(project, script)
    return project / "digit.png"


def test_images_are_answered_as_predict_does(
    project: Path, service: RunningService, image: Path
) -> None:
    done = services.call(project, "predict", "--json", "--explain", str(image))
    predicted = json.loads(done.stdout)
    answer = service.ask(
        "POST", "/predict?explain=true", image.read_bytes(), Content_Type="image/png"
    )
    assert answer.headers["x-model"] == f"newest/{services.newest_run(project).name}"
    assert_same(answer.json(), predicted)
    assert answer.json()["explanation"]["target"] == predicted["explanation"]["target"]
    champion = service.ask(
        "POST", "/models/champion/predict", image.read_bytes(), Content_Type="image/png"
    )
    assert champion.headers["x-model"] == "champion/1"
    assert_same(champion.json(), {"id": "", **champion.json()})


def test_the_alias_moves_under_load_and_no_request_is_lost(
    project: Path, service: RunningService, image: Path
) -> None:
    body = image.read_bytes()
    with Load(service.port, "/models/champion/predict", "image/png", body, 16) as load:
        run_script(project, MOVE, "2")
        wait_for(lambda: load.models["champion/2"] > 100, "the new version")
    assert set(load.outcomes) == {"200"}, load.outcomes
    assert set(load.models) == {"champion/1", "champion/2"}
    assert service.events("model loaded")[-1]["before"] == "1"


def test_a_new_run_that_does_not_load_leaves_the_old_one(
    project: Path, service: RunningService, image: Path
) -> None:
    newest = services.newest_run(project)
    body = image.read_bytes()
    before = service.ask("POST", "/predict", body, Content_Type="image/png")
    broken = project / "runs" / "20990101-000000-bad0"
    with Load(service.port, "/predict", "image/png", body, 16) as load:
        shutil.copytree(newest, broken)
        model = broken / "model.keras"
        model.write_bytes(model.read_bytes()[:5000])
        wait_for(lambda: service.events("model not loaded"), "the refusal")
    assert set(load.outcomes) == {"200"}, load.outcomes
    event = service.events("model not loaded")[-1]
    assert event["kept"] == newest.name
    assert "damaged" in event["reason"]
    assert str(project) not in event["reason"]
    metrics = service.ask("GET", "/metrics").body.decode()
    assert 'reloads_total{model="newest",result="failed"} 1.0' in metrics
    # The file of the model in use is changed: nothing happens to its answers.
    (newest / "model.keras").rename(newest / "kept.keras")
    (newest / "model.keras").write_bytes(b"changed")
    after = service.ask("POST", "/predict", body, Content_Type="image/png")
    assert (after.status, after.body) == (before.status, before.body)
    assert service.is_ready()
    (newest / "kept.keras").replace(newest / "model.keras")
    shutil.rmtree(broken)


def test_log_and_metrics_tell_nothing_of_what_was_sent(
    service: RunningService, image: Path
) -> None:
    service.post({"image": "SECRET-PAYLOAD"})
    service.ask("GET", "/SECRET-PATH?key=SECRET-KEY")
    log = service.log()
    assert "SECRET" not in log
    assert "Traceback" not in log
    lines = service.events("request")
    assert {"method", "path", "status", "rows", "milliseconds", "model"} <= set(lines[0])
    metrics = service.ask("GET", "/metrics").body.decode()
    assert "SECRET" not in metrics
    for name in ("request_seconds_bucket", "batch_rows_bucket", "queue_rows", "predictions_total"):
        assert f"{name}{{" in metrics
    assert 'model_info{model="champion",version="2"} 1.0' in metrics


def test_sigterm_under_load_loses_no_request(service: RunningService, image: Path) -> None:
    body = image.read_bytes()
    with Load(service.port, "/predict", "image/png", body) as load:
        wait_for(lambda: load.num_answers >= 800, "requests")
        service.process.send_signal(signal.SIGTERM)
        # As a balancer: it sends nothing more once the service says that it is not ready.
        wait_for(lambda: service.ask("GET", "/readyz").status == 503, "not ready", 5)
        time.sleep(0.2)
    assert service.process.wait(60) == 0
    assert set(load.outcomes) == {"200"}, load.outcomes
    assert load.num_answers >= 800
    assert service.events("stopped")


# === Files that are no models ===


def make_hostile(project: Path, mark: Path) -> list[str]:
    """Make runs whose model files must not be loaded, and return their ids."""
    good = services.newest_run(project)  # the others are older
    script = HOSTILE.replace("MARK", str(mark))
    names = ["lambda", "foreign", "h5", "pickle", "short", "missing"]
    for name in names:
        run = project / "runs" / f"20000101-000000-{name}"
        shutil.copytree(good, run, ignore=shutil.ignore_patterns("checkpoints", "report"))
    run_script(project, script)
    short = project / "runs" / "20000101-000000-short" / "model.keras"
    short.write_bytes(short.read_bytes()[:3000])
    (project / "runs" / "20000101-000000-missing" / "model.keras").unlink()
    return [f"20000101-000000-{name}" for name in names]


# Files that would write MARK if anything of them were run.
HOSTILE = """
import json, pickle, zipfile
from pathlib import Path
import keras

def rewrite(name, change):
    file = Path(f"runs/20000101-000000-{name}/model.keras")
    with zipfile.ZipFile(file) as archive:
        content = {n: archive.read(n) for n in archive.namelist()}
    config = json.loads(content["config.json"])
    change(config)
    content["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for n, value in content.items():
            archive.writestr(n, value)

network = keras.Sequential([
    keras.Input((3,)), keras.layers.Lambda(lambda x: [open("MARK", "w"), x][1])
])
evil = json.loads(network.to_json())
Path("MARK").unlink(missing_ok=True)
rewrite("lambda", lambda config: (config.clear(), config.update(evil)))

def use_foreign(config):
    layer = config["config"]["layers"][1]
    layer.update(module="os", class_name="system", registered_name="system")
    layer["config"] = {"command": "touch MARK"}

rewrite("foreign", use_foreign)
keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]).save("evil.h5")
Path("evil.h5").rename("runs/20000101-000000-h5/model.keras")

class Evil:
    def __reduce__(self):
        return (open, ("MARK", "w"))

Path("runs/20000101-000000-pickle/model.keras").write_bytes(pickle.dumps(Evil()))
"""


def test_hostile_and_damaged_files_are_refused_and_the_service_stays(
    project: Path, image: Path, tmp_path: Path
) -> None:
    body, kind = image.read_bytes(), {"Content_Type": "image/png"}
    mark = tmp_path / "mark"
    runs = make_hostile(project, mark)
    words = [word for run in runs for word in ("--model", f"{run[16:]}={run}")]
    running = RunningService(project, *words, "--serve.follow_seconds", "1")
    try:
        wait_for(lambda: len(running.events("model not loaded")) >= len(runs), "refusals")
        assert running.is_alive()
        ready = running.ask("GET", "/readyz")
        assert ready.status == 503
        assert "the service's log says why" in ready.json()["error"]
        for name in ("lambda", "missing"):
            answer = running.ask("POST", f"/models/{name}/predict", body, **kind)
            assert (answer.status, "retry-after" in answer.headers) == (503, True)
        reasons = {event["model"]: event["reason"] for event in running.events("model not loaded")}
        assert "does not exist" in reasons["missing"]
        assert str(project) not in json.dumps(reasons)
        assert not mark.exists()
        # A file that is put back is found.
        good = services.newest_run(project) / "model.keras"
        shutil.copy(good, project / "runs" / runs[-1] / "model.keras")
        wait_for(lambda: running.events("model loaded"), "the file that was put back")
        assert running.ask("POST", "/models/missing/predict", body, **kind).status == 200
        assert running.stop() == 0
    finally:
        running.process.kill()
        running.process.wait()


def test_wrong_words_end_it_at_once(project: Path) -> None:
    for words, code, text in (
        (["--run", "nothing"], 2, "--run: 'nothing' is unknown"),
        (["--serve.prt", "1"], 2, "Did you mean '--serve.port'?"),
        (["--serve.max_rows", "1000"], 2, "must be at most queue 256"),
    ):
        done = services.call(project, "serve", *words)
        assert (done.returncode, text in done.stderr) == (code, True), done.stderr
        assert len(done.stderr.splitlines()) == 1
