"""Rows 13, 15 and 23 of the fault battery, with real processes; and memory that stays flat."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.environments import project_python

pytestmark = pytest.mark.slow
Run = Callable[..., subprocess.CompletedProcess[str]]

UNRECORDED = ["--tracking.enabled", "false"]
QUICK = [*UNRECORDED, "--model.name", "mlp", "--train.log_every_steps", "1"]
KILLS = Path(__file__).with_name("kill_again_and_again.py")


def environment_of(demo: Path, **more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(demo / "src"), "TF_CPP_MIN_LOG_LEVEL": "3", **more}


def summaries(demo: Path) -> list[dict]:
    return [json.loads(file.read_text()) for file in sorted(demo.glob("runs/*/summary.json"))]


def losses(demo: Path, run_id: str) -> list[float]:
    lines = (demo / "runs" / run_id / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["metrics"]["train/loss"] for line in lines]


# === Row 13 ===


@pytest.mark.parametrize(("backend", "kills"), [("tensorflow", 20), ("jax", 3)])
def test_killed_at_random_steps(demo: Path, backend: str, kills: int) -> None:
    words = [*QUICK, "--data.limit", "600", "--train.epochs", "12", "--model.dropout", "0.2"]
    words += ["--train.checkpoint_every_steps", "5", "--train.early_stopping_patience", "0"]
    done = subprocess.run(
        [str(project_python()), str(KILLS), str(kills), *words],
        cwd=demo,
        env=environment_of(demo, KERAS_BACKEND=backend),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:] + (demo / "train.out").read_text()[-3000:]
    result = json.loads(done.stdout)
    alone, killed = result["summaries"]
    assert result["killed"] == kills
    assert killed["resumed_from_step"] > 0
    assert killed["weights_sha256"] == alone["weights_sha256"]
    assert killed["metrics"] == alone["metrics"]
    assert result["metrics_agree"]


# === Row 15 ===


def train_on_small_disk(
    demo: Path, words: list[str], folder: str, size: str, afterwards: str
) -> subprocess.CompletedProcess[str]:
    """Train with a folder of the project on a file system of its own, which has too little room;
    then, while it is still there, run a command of the shell."""
    inside = f"mount -t tmpfs -o size={size} tmpfs {demo / folder} && " + (
        f'"$@"; code=$?; {afterwards}; exit $code'
    )
    private = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "-Urm"]
    train = [str(project_python()), "-m", "demo", "train", *words]
    done = subprocess.run(
        [*private, "sh", "-c", inside, "sh", *train],
        cwd=demo,
        env=environment_of(demo),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done


def test_full_disk_while_saving(demo: Path, run_in: Run) -> None:
    """A file system of 2 MB has no room for three checkpoints of the cnn."""
    (demo / "runs").mkdir()
    words = [*UNRECORDED, "--train.checkpoint_every_steps", "10", "--train.max_steps", "60"]
    done = train_on_small_disk(demo, words, "runs", "2m", "cp -r runs kept")
    assert done.stderr.count("\n") == 1
    assert "No space left on device; the last good checkpoint is" in done.stderr
    last_good = int(done.stderr.rpartition("step-")[2].split(".")[0])
    shutil.rmtree(demo / "runs")
    (demo / "kept").rename(demo / "runs")
    again = run_in(demo, "demo", "train", *words)
    assert again.returncode == 0, again.stderr
    (summary,) = summaries(demo)
    assert summary["resumed_from_step"] == last_good > 0


# === Row 23: two workers, started by hand as a cluster does ===


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for opened in sockets:
        opened.bind(("127.0.0.1", 0))
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def cluster_variables(backend: str, worker: int, ports: list[int]) -> dict[str, str]:
    addresses = [f"127.0.0.1:{port}" for port in ports]
    if backend == "jax":
        return {
            "JAX_COORDINATOR_ADDRESS": addresses[0],
            "JAX_NUM_PROCESSES": "2",
            "JAX_PROCESS_ID": str(worker),
        }
    task = {"type": "worker", "index": worker}
    return {"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": task})}


@contextmanager
def two_workers(demo: Path, backend: str, words: list[str]) -> Iterator[list[subprocess.Popen]]:
    ports = free_ports(2)
    logs = [(demo / f"worker-{worker}.log").open("w") for worker in (0, 1)]
    workers = [
        subprocess.Popen(
            [str(project_python()), "-m", "demo", "train", *words],
            cwd=demo,
            env=environment_of(demo, KERAS_BACKEND=backend)
            | cluster_variables(backend, worker, ports),
            stdout=logs[worker],
            stderr=subprocess.STDOUT,
        )
        for worker in (0, 1)
    ]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
        for log in logs:
            log.close()


def said(demo: Path) -> str:
    return "\n".join(log.read_text()[-3000:] for log in sorted(demo.glob("worker-*.log")))


def wait_for_lines(demo: Path, count: int) -> None:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        files = list(demo.glob("runs/*/metrics.jsonl"))
        if files and len(files[-1].read_text().splitlines()) >= count:
            return
        time.sleep(0.02)
    pytest.fail(f"no {count} lines of metrics: {said(demo)}")


@pytest.mark.minutes(3)
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_workers_are_one_run_and_survive_a_kill(demo: Path, backend: str, run_in: Run) -> None:
    # 1259 examples in batches of 33: neither the batches nor the last one are even.
    words = ["--model.name", "mlp", "--train.log_every_steps", "1", "--data.batch_size", "33"]
    words += ["--train.epochs", "8", "--train.checkpoint_every_steps", "20"]
    with two_workers(demo, backend, words) as workers:
        assert [worker.wait(900) for worker in workers] == [0, 0], said(demo)
    (alone,) = summaries(demo)
    assert (alone["strategy"], alone["replicas"]) == ("multi_worker", 2)
    assert f"Weights of this worker: {alone['weights_sha256']}" in said(demo)
    # One run in MLflow, written by the chief.
    listed = run_in(demo, "demo", "replay", alone["run_id"])
    assert alone["mlflow"]["run_id"] in listed.stdout
    # As one process learns it.
    one = run_in(demo, "demo", "train", *words, *UNRECORDED, KERAS_BACKEND=backend)
    assert one.returncode == 0, one.stderr
    single = next(found for found in summaries(demo) if found["replicas"] == 1)
    expected = losses(demo, single["run_id"])
    assert losses(demo, alone["run_id"])[:20] == pytest.approx(expected[:20], rel=1e-3)
    assert alone["metrics"]["test/loss"] == pytest.approx(single["metrics"]["test/loss"], rel=1e-2)

    shutil.rmtree(demo / "runs")
    with two_workers(demo, backend, words) as workers:
        wait_for_lines(demo, 70)
        workers[1].kill()
        began = time.monotonic()
        assert workers[0].wait(90) == 1, said(demo)
        assert time.monotonic() - began < 60
    assert "error: another worker is gone; start all of them again" in said(demo)
    with two_workers(demo, backend, words) as workers:
        assert [worker.wait(900) for worker in workers] == [0, 0], said(demo)
    (resumed,) = summaries(demo)
    assert resumed["resumed_from_step"] >= 20
    assert resumed["weights_sha256"] == alone["weights_sha256"]


# Each process has joined the other before training begins, as hosts of a TPU do. In a second run of
# the same two the last one is out of memory.
KNOWN_TO_JAX = """
import sys

import jax

address, number, *words = sys.argv[1:]
jax.distributed.initialize(address, 2, int(number))

from demo.engine.distribution.jax import JaxSteps
from demo.__main__ import train as main

code = main(words)
assert code == 0, code

def lack_memory(*args):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory")

if number == "1":
    JaxSteps.train = lack_memory
sys.exit(main([*words, "--fresh"]))
"""


def test_processes_that_jax_knows_of_are_workers(demo: Path) -> None:
    words = [*QUICK, "--train.max_steps", "3", "--data.limit", "200"]
    address = f"127.0.0.1:{free_ports(1)[0]}"
    processes = [
        subprocess.Popen(
            [str(project_python()), "-c", KNOWN_TO_JAX, address, str(number), *words],
            cwd=demo,
            env=environment_of(demo, KERAS_BACKEND="jax"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in (0, 1)
    ]
    try:
        errors = [process.communicate(timeout=900)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    (summary,) = summaries(demo)
    assert (summary["strategy"], summary["replicas"]) == ("multi_worker", 2), errors
    # The one says what it lacks and leaves; so the other does not wait for it for ever.
    assert [process.returncode for process in processes] == [1, 1], errors
    assert "error: another worker is gone" in errors[0]
    assert "error: not enough device memory; try a smaller data.batch_size (RES" in errors[1]
    assert "another worker" not in errors[1]


def test_launch(demo: Path, run_in: Run) -> None:
    launch = ["demo", "launch", "--workers", "2", "--"]
    done = run_in(demo, *launch, *QUICK, "--train.max_steps", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line]
    assert {line[:4] for line in lines} == {"[0] ", "[1] "}
    assert any("worker 0 of 2 with 1 replica" in line for line in lines)
    sha = summaries(demo)[0]["weights_sha256"]
    assert f"[1] Weights of this worker: {sha}" in lines
    wrong = run_in(demo, *launch, "--train.epoch", "3")
    assert wrong.returncode == 2
    assert "'--train.epoch' is unknown. Did you mean '--train.epochs'?" in wrong.stderr
    # What only the workers can find out is passed on, with its exit code.
    wrong = run_in(demo, *launch, *QUICK, "--data.source", "folder", "--data.path", "missing")
    assert wrong.returncode == 3, wrong.stdout + wrong.stderr
    assert "[0] error: data.path: 'missing' does not exist." in wrong.stdout
    assert wrong.stderr.count("\n") == 1


def test_launch_passes_signals_on(demo: Path, run_in: Run) -> None:
    words = ["--workers", "2", "--", *QUICK, "--train.epochs", "2000"]
    with subprocess.Popen(
        [str(project_python()), "-m", "demo", "launch", *words],
        cwd=demo,
        env=environment_of(demo),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        wait_for_lines(demo, 30)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 75
    assert errors == (
        "error: the workers were stopped (0: exit 75, 1: exit 75); the same command resumes.\n"
    )
    assert len(list(demo.glob("runs/*/checkpoints/*.npz"))) >= 1


# === The JAX backend on virtual devices ===

EVERY_STRATEGY = """
import os
import sys
from demo.config import load_config
from demo.engine.strategy import prepare

words = sys.argv[1:]
prepare(load_config(words).runtime)

from demo.__main__ import train as main
from demo.engine import loop

fit = loop.fit

def fit_and_look(task, network, *rest):
    for variable in network.trainable_variables:
        value = variable.value
        print(variable.path, value.shape, "in parts of", value.addressable_shards[0].data.shape)
    return fit(task, network, *rest)

loop.fit = fit_and_look
for strategy in ("single", "data_parallel", "model_parallel", "auto"):
    code = main([*words, "--fresh", "--runtime.strategy", strategy])
    assert code == 0, code
print("flags:", os.environ["XLA_FLAGS"])
"""


def test_jax_strategies_learn_alike(demo: Path) -> None:
    words = [*QUICK, "--train.max_steps", "45", "--data.batch_size", "30"]
    words += ["--runtime.backend", "jax", "--runtime.virtual_devices", "4"]
    # All devices draw one mask for the whole batch. If each drew its own, or all the same for their
    # rows, losses would differ.
    words += ["--model.dropout", "0.5", "--train.deterministic", "true"]
    done = subprocess.run(
        [str(project_python()), "-c", EVERY_STRATEGY, *words],
        cwd=demo,
        env=environment_of(demo),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = {summary["strategy"]: summary for summary in summaries(demo)}
    assert {name: found[name]["replicas"] for name in found} == {
        "single": 1,
        "data_parallel": 4,
        "model_parallel": 2,
    }
    assert len(summaries(demo)) == 4, "auto takes data_parallel"
    expected = losses(demo, found["single"]["run_id"])
    for name in ("data_parallel", "model_parallel"):
        assert losses(demo, found[name]["run_id"]) == pytest.approx(expected, rel=1e-3)
    assert "hidden/kernel (64, 128) in parts of (64, 128)" in done.stdout
    assert "hidden/kernel (64, 128) in parts of (64, 64)" in done.stdout
    assert all(summary["backend"] == "jax" for summary in summaries(demo))
    # What only GPUs heed, CPUs being deterministic anyway.
    assert "--xla_gpu_deterministic_ops=true" in done.stdout
    assert all(summary["deterministic"] for summary in summaries(demo))


def test_jax_refuses_what_cannot_work(demo: Path, run_in: Run) -> None:
    for words, message in (
        (["--runtime.strategy", "tpu"], "'tpu' needs a TPU, and JAX sees 1 CPU device"),
        (["--runtime.strategy", "multi_worker"], "JAX_COORDINATOR_ADDRESS; a cluster sets it."),
        (["--runtime.strategy", "data_parallel"], "needs at least two devices"),
        (
            ["--runtime.strategy", "multi_worker", "--runtime.devices", "1"],
            "runtime.devices: 1 is for one process; of several workers each takes all devices",
        ),
    ):
        done = run_in(demo, "demo", "train", *words, KERAS_BACKEND="jax")
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


# === Memory ===

MAKE_IMAGES = """
import sys
from pathlib import Path
import numpy as np
import tensorflow as tf

folder, count = Path(sys.argv[1]), int(sys.argv[2])
rng = np.random.default_rng(0)
for label in ("left", "right"):
    (folder / label).mkdir(parents=True)
for number in range(count):
    pixels = np.repeat(np.repeat(rng.integers(0, 255, (12, 12, 3)), 8, 0), 8, 1).astype("uint8")
    name = folder / ("left", "right")[number % 2] / f"{number}.jpg"
    name.write_bytes(tf.io.encode_jpeg(pixels).numpy())
"""


def peak_memory(demo: Path, folder: str, cache: str) -> float:
    """Largest anonymous memory, MB, of a training process; what the disk can take back aside."""
    words = [*QUICK, "--data.source", "folder", "--data.path", folder, "--data.cache", cache]
    words += ["--data.image_size", "96", "--data.batch_size", "8", "--train.max_steps", "20"]
    words += ["--fresh"]
    with subprocess.Popen(
        [str(project_python()), "-m", "demo", "train", *words],
        cwd=demo,
        env=environment_of(demo),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        largest = 0.0
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status").read_text()
            found = [line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")]
            largest = max([largest, *(int(value) / 1000 for value in found)])
            time.sleep(0.02)
    assert process.returncode == 0
    return largest


def test_full_disk_while_preparing(demo: Path) -> None:
    """The cache is 13 MB of pixels; its file system has room for 4."""
    make = [str(project_python()), "-c", MAKE_IMAGES, "images", "500"]
    subprocess.run(make, cwd=demo, env=environment_of(demo), check=True, capture_output=True)
    (demo / ".cache").mkdir()
    words = [*QUICK, "--data.source", "folder", "--data.path", "images", "--data.cache", "disk"]
    words += ["--data.image_size", "96"]
    done = train_on_small_disk(demo, words, ".cache", "4m", "find .cache/prepared -type f")
    assert done.stderr.startswith("error: data.cache: 10 MB of prepared examples cannot be written")
    assert done.stderr.count("\n") == 1
    said, _, left = done.stdout.partition("examples on disk (10 MB): ")
    assert said.endswith("Preparing 350 "), "before it is tried"
    assert left.count("\n") == 1, "nothing of it stays"


@pytest.mark.minutes(3)
def test_memory_stays_flat_when_the_data_grows_tenfold(demo: Path) -> None:
    few, many = 1_000, 10_000
    for count in (few, many):
        make = [str(project_python()), "-c", MAKE_IMAGES, f"images-{count}", str(count)]
        subprocess.run(make, cwd=demo, env=environment_of(demo), check=True, capture_output=True)
    growth = {
        cache: peak_memory(demo, f"images-{many}", cache)
        - peak_memory(demo, f"images-{few}", cache)
        for cache in ("none", "disk", "memory")
    }
    # Two runs of the same kind may differ by 80 MB, which is what threads happen to hold.
    half_of_the_pixels = (many - few) * 96 * 96 * 3 / 1e6 / 2
    assert growth["memory"] > half_of_the_pixels, f"the measurement would see it: {growth}"
    assert growth["none"] < half_of_the_pixels, growth
    assert growth["disk"] < half_of_the_pixels, growth
