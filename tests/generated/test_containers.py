"""Images of a project are built, and train, serve and promote as its documents say.

They take half an hour and 10 GB, and share what they build: bash tests/run.sh -m containers -n 0
"""

import json
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.generated.containers import Engine, keep_checking
from tests.generated.servers import free_port, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.containers]

SAFE = ("--cap-drop", "ALL", "--security-opt", "no-new-privileges")
READ_ONLY = ("--read-only", "--read-only-tmpfs=false", "--tmpfs", "/tmp")
MOST = 0.6  # of the training image's size
SMOKE = ("--config", "configs/smoke.yaml")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """What builds and runs images; skipped where there is none."""
    made = Engine(tmp_path_factory.mktemp("engine"))
    made.make_base_images()
    yield made
    made.close()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with all features that images have to do with."""
    from aistart.answers import FeatureSelection, resolve, select_features
    from aistart.catalog import find_template
    from aistart.project import Request, create

    template = find_template("vision-classifier")
    features = select_features(template, FeatureSelection(include=frozenset({"compose"})))
    answers = resolve(template, {"project_name": "demo"})
    return create(Request(template, answers, tmp_path_factory.mktemp("project"), tuple(features)))


@pytest.fixture(scope="module")
def images(engine: Engine, project: Path) -> dict[str, str]:
    """Kind -> tag of the images, built from the project's Dockerfiles as they are."""
    engine.build(project, "demo:cpu", "--target", "cpu")
    for kind in ("serve", "mlflow"):
        engine.build(project, f"demo:{kind}", "--file", f"Dockerfile.{kind}")
    return {kind: f"localhost/demo:{kind}" for kind in ("cpu", "serve", "mlflow")}


@pytest.fixture(scope="module")
def runs(engine: Engine, images: dict[str, str]) -> Iterator[str]:
    """A volume with a run that was trained in the container, without rights."""
    engine.run("volume", "create", "demo-test-runs")
    volume = ("--volume", "demo-test-runs:/app/runs")
    engine.run("run", "--rm", *SAFE, *volume, images["cpu"], *SMOKE, "--tracking.enabled", "false")
    yield "demo-test-runs"
    engine.run("volume", "rm", "--force", "demo-test-runs")


class Service:
    """A container that serves a run."""

    def __init__(self, engine: Engine, image: str, *words: str) -> None:
        self.engine, self.port = engine, free_port()
        published = f"127.0.0.1:{self.port}:8000"
        bounds = ("--memory", "2g", "--publish", published, "--detach")
        self.name = engine.run("run", *bounds, *SAFE, *READ_ONLY, *words[:-1], image, *words[-1:])

    def get(self, path: str, body: bytes | None = None, kind: str = "application/json") -> Any:
        return ask(f"http://127.0.0.1:{self.port}{path}", body, kind)

    def is_ready(self) -> bool:
        return is_ready(self.port)

    def close(self) -> None:
        self.engine.run("rm", "--force", self.name)


def ask(url: str, body: bytes | None = None, kind: str = "application/json") -> Any:
    request = urllib.request.Request(url, body)
    request.add_header("Content-Type", kind)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture
def service(engine: Engine, images: dict[str, str], runs: str) -> Iterator[Service]:
    """The service, with the run and with nothing writable but /tmp."""
    started = Service(engine, images["serve"], "--volume", f"{runs}:/app/runs:ro", "--run=latest")
    wait_for(started.is_ready, "the service is ready", 180)
    yield started
    started.close()


def example_row(ask_service: Callable[[str], Any]) -> bytes:
    return json.dumps(ask_service("/schema")["models"][0]["schema"]["examples"][0]).encode()


def test_the_serving_image_is_small(engine: Engine, images: dict[str, str]) -> None:
    sizes = {kind: engine.inspect(image)["Size"] for kind, image in images.items()}
    print({kind: f"{size / 1e9:.2f} GB" for kind, size in sizes.items()})
    assert sizes["serve"] <= MOST * sizes["cpu"]


def test_the_service_answers_over_the_published_port(service: Service) -> None:
    row = example_row(service.get)
    answer = service.get("/predict?explain=true", row)
    assert set(answer) >= {"prediction", "explanation"}
    assert len(service.get("/predict", b"[%s, %s]" % (row, row))) == 2
    assert service.get("/v2/health/ready")["ready"]


def test_the_service_can_do_nothing_else(engine: Engine, service: Service) -> None:
    assert engine.run("exec", service.name, "id", "-u") == "1000"
    status = engine.run("exec", service.name, "cat", "/proc/1/status")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status
    for place in ("/app", "/app/runs", "/opt/venv", "/home/server", "/usr"):
        done = engine.call("podman", "exec", service.name, "touch", f"{place}/x")
        assert "Read-only file system" in done.stderr, place
    packages = engine.run("exec", service.name, "python", "-m", "pip", "list")
    assert "mlflow-skinny" in packages
    assert not {"scikit-learn", "matplotlib", "pytest", "gunicorn"} & set(packages.split())


def test_the_image_checks_its_health(engine: Engine, service: Service) -> None:
    assert engine.is_healthy(service.name)
    engine.run("kill", "--signal", "STOP", service.name)
    assert not engine.is_healthy(service.name)
    engine.run("kill", "--signal", "CONT", service.name)
    wait_for(lambda: engine.is_healthy(service.name), "healthy again", 30)


def test_sigterm_ends_with_0_and_loses_no_request(engine: Engine, service: Service) -> None:
    row = example_row(service.get)
    statuses: list[int] = []
    ended = threading.Event()

    def request() -> None:
        while not ended.is_set():
            try:
                service.get("/predict", row)
                statuses.append(200)
            except urllib.error.HTTPError as error:
                statuses.append(error.code)
            except OSError as error:  # refused: it takes no more connections
                reason = getattr(error, "reason", error)
                statuses.append(0 if isinstance(reason, ConnectionRefusedError) else -1)
                return

    clients = [threading.Thread(target=request) for _ in range(4)]
    for client in clients:
        client.start()
    wait_for(lambda: len(statuses) > 20, "requests")
    engine.run("stop", "--time", "60", service.name)
    ended.set()
    for client in clients:
        client.join()
    assert engine.inspect(service.name)["State"]["ExitCode"] == 0
    print(f"{statuses.count(200)} answers, {len(statuses) - statuses.count(200)} others")
    assert set(statuses) <= {200, 0}


def test_an_image_with_a_model_in_it(
    engine: Engine, project: Path, images: dict[str, str], runs: str, tmp_path: Path
) -> None:
    place = Path(engine.run("volume", "inspect", "--format", "{{.Mountpoint}}", runs))
    (run,) = (path for path in place.iterdir() if (path / "model.keras").exists())
    words = ("--file", "Dockerfile.serve", "--target", "with-model")
    engine.build(project, "demo:baked", *words, "--build-context", f"run={run}")
    service = Service(engine, "localhost/demo:baked", "--run=model")
    try:
        wait_for(service.is_ready, "the service is ready", 180)
        assert service.get("/predict", example_row(service.get))
    finally:
        service.close()


def test_compose(engine: Engine, project: Path, images: dict[str, str]) -> None:
    """All of it starts at once; a model is trained, promoted, and served without a restart."""
    engine.make_postgres()
    service, mlflow = free_port(), free_port()
    example = (project / ".env.example").read_text()
    filled = example.replace("PASSWORD=", "PASSWORD=4DkeVtF9correcthorse")
    filled = filled.replace("=8000", f"={service}").replace("=5000", f"={mlflow}")
    (project / ".env").write_text(filled)

    def containers() -> list[str]:
        label = "label=io.podman.compose.project=demo"
        return engine.run("ps", "--quiet", "--filter", label, check=False).split()

    stop_checks = keep_checking(engine, containers)
    try:
        engine.compose(project, "up", "--detach", "--no-build")
        wait_for(lambda: is_reached(f"http://127.0.0.1:{mlflow}/health"), "MLflow's server", 300)
        wait_for(lambda: is_reached(f"http://127.0.0.1:{service}/healthz"), "the service", 120)
        assert not is_ready(service), "there is no champion yet"
        engine.compose(project, "--profile", "jobs", "run", "--rm", "train", *SMOKE)
        gate = project / "configs/gate.yaml"
        gate.write_text(gate.read_text().replace("min_examples: 100", "min_examples: 1"))
        mounted = ("--volume", f"{gate}:/app/configs/gate.yaml:ro")
        said = engine.compose(project, "--profile", "jobs", "run", "--rm", *mounted, "promote")
        assert "champion" in said
        wait_for(lambda: is_ready(service), "the service has the champion", 180)
        url = f"http://127.0.0.1:{service}"
        row = example_row(lambda path: ask(f"{url}{path}"))
        assert ask(f"{url}/predict", row)["prediction"]
        assert ask(f"{url}/schema")["models"][0]["version"] == "1"
    except BaseException:
        for name in containers():
            print(engine.call("podman", "logs", "--tail", "30", name))
        raise
    finally:
        stop_checks()
        engine.compose(project, "--profile", "jobs", "down", "--volumes")


def is_reached(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


def test_an_interrupted_training_goes_on(engine: Engine, images: dict[str, str]) -> None:
    """As `docker stop` and `docker start` do it: 75, and then the same run to its end."""
    volume = ("--volume", "demo-test-stopped:/app/runs")
    words = ("--train.epochs", "300", "--tracking.enabled", "false", "--data.limit", "300")
    name = engine.run("run", "--detach", *SAFE, *volume, images["cpu"], *words)
    try:
        wait_for(lambda: "epoch" in logs(engine, name), "the first epoch", 180)
        engine.run("kill", "--signal", str(int(signal.SIGTERM)), name)
        assert engine.run("wait", name) == "75"
    finally:
        engine.run("rm", "--force", "--volumes", name)
        engine.run("volume", "rm", "--force", "demo-test-stopped")


def logs(engine: Engine, name: str) -> str:
    done: subprocess.CompletedProcess[str] = engine.call("podman", "logs", name)
    return done.stdout + done.stderr
