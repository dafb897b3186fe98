"""A run that is interrupted and resumed ends with the weights of one that was left alone."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from {{ cookiecutter.package_name }}.__main__ import train as main
from {{ cookiecutter.package_name }}.config import Config
from {{ cookiecutter.package_name }}.engine import evaluation, loop, resume
from {{ cookiecutter.package_name }}.engine.checkpoints import (
    Checkpoints,
    read,
    read_newest,
)
from {{ cookiecutter.package_name }}.engine.errors import (
    Diverged,
    Interrupted,
    ProjectError,
    UsageProblem,
)
from {{ cookiecutter.package_name }}.engine.interfaces import Phase
from {{ cookiecutter.package_name }}.engine.locks import Lock
from {{ cookiecutter.package_name }}.engine.runs import Run, all_runs, start_run
from {{ cookiecutter.package_name }}.engine.signals import StopRequest

from ..conftest import UNRECORDED, metrics_by_step

pytestmark = pytest.mark.usefixtures("fit_alone")

# 140 training examples in batches of 32: five steps an epoch, the last one with 12 examples.
LONG = [
    *UNRECORDED,
    "--train.max_steps",
    "18",
    "--train.checkpoint_every_steps",
    "4",
    "--train.log_every_steps",
    "1",
]


def freeze_some(network: keras.Model) -> None:
    for layer in network.layers[: len(network.layers) // 2]:
        layer.trainable = False


def thaw(network: keras.Model) -> None:
    for layer in network.layers:
        layer.trainable = True


def two_phases(config) -> list[Phase]:
    return [Phase("some", 2, 3e-3, freeze_some), Phase("all", 4, 1e-3, thaw)]


OPTIONS = {
    "plain": [],
    "steps of an execution": ["--train.steps_per_execution", "3"],
    "mixed_bfloat16": ["--runtime.precision", "mixed_bfloat16"],
    "mixed_float16": ["--runtime.precision", "mixed_float16"],
    "bfloat16": ["--runtime.precision", "bfloat16"],
    "parts": ["--train.accumulate_steps", "3"],
    "recompute": ["--train.recompute", "true", "--model.dropout", "0.5"],
    "clipping": ["--train.gradient_clip_norm", "0.01", "--train.optimizer", "sgd"],
    "dropout": ["--model.dropout", "0.5"],
    "early stopping": ["--train.early_stopping_patience", "1", "--train.learning_rate", "1"],
    "two phases": [],
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_resumed_run_ends_as_if_never_interrupted(
    name: str, interrupt: Callable, use_task: Callable
) -> None:
    if name == "two phases":
        use_task(phases=two_phases)
    words = [*LONG, *OPTIONS[name]]
    assert main([*words, "--fresh"]) == 0
    (alone,) = all_runs()
    # Within an epoch (of the second phase); and in the first one, at an epoch's end, at the end.
    for step in (13, 3, 5, 18) if name == "two phases" else (13,):
        interrupt(step)
        before = set(all_runs())
        code = main([*words, "--fresh"])
        if code == 0 and name == "early stopping":
            continue  # it stopped before
        assert code == 75
        (run,) = set(all_runs()) - before
        assert main(words) == 0
        assert set(all_runs()) - before == {run}
        assert run.summary["resumed_from_step"] >= step
        assert run.summary["weights_sha256"] == alone.summary["weights_sha256"]
        assert metrics_by_step(run) == metrics_by_step(alone)


def test_resume_is_said_and_can_be_declined(
    interrupt: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(6)
    assert main(LONG) == 75
    (run,) = all_runs()
    step = read_newest(run.checkpoints_dir).state["step"]
    assert capsys.readouterr().err == (
        f"error: stopped by SIGTERM at step {step}; the same command resumes there.\n"
    )
    assert main([*LONG, "--fresh"]) == 0
    assert len(all_runs()) == 2
    assert main(["--resume", run.id]) == 0
    shown = capsys.readouterr().out
    assert f"Run {run.id} resumes after step {step} (--fresh starts a new one)\n" in shown
    assert main(["--resume", run.id]) == 2
    assert "is finished; to start from its weights" in capsys.readouterr().err


def test_interrupted_after_fitting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert main([*LONG, "--fresh"]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "check_reload", lambda *_: signal.raise_signal(signal.SIGTERM))
        assert main([*LONG, "--fresh"]) == 75
    assert main(LONG) == 0
    alone, resumed = (run.summary for run in all_runs())
    assert resumed["weights_sha256"] == alone["weights_sha256"]
    assert {alone["resumed_from_step"], resumed["resumed_from_step"]} == {None, 18}


def test_ctrl_c_is_as_resumable(interrupt: Callable, capsys: pytest.CaptureFixture[str]) -> None:
    interrupt(2, signal.SIGINT)
    assert main(LONG) == 75
    assert "stopped by SIGINT at step" in capsys.readouterr().err
    assert main(["--resume", "latest"]) == 0


def test_another_configuration_is_another_run(
    interrupt: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(2)
    assert main(LONG) == 75
    (run,) = all_runs()
    capsys.readouterr()
    assert main(["--resume", run.id, "--train.seed", "7"]) == 2
    assert capsys.readouterr().err == (
        f"error: --resume: {run.id} was configured with train.seed=0, not 7; resume without "
        "changes, or start a new run.\n"
    )
    record = run.read("record")
    run.write("record", {**record, "digest": "another"})
    assert main(["--resume", run.id]) == 3
    assert "the data has changed" in capsys.readouterr().err
    assert main([*LONG, "--train.max_steps", "1"]) == 0
    assert len(all_runs()) == 2, "neither was the unfinished run taken for another one"


def test_a_run_that_is_worked_on_is_left_alone(
    interrupt: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    interrupt(2)
    assert main(LONG) == 75
    (run,) = all_runs()
    with run.claim():
        assert main(["--resume", run.id]) == 2
        assert f"another process is working on {run.id}" in capsys.readouterr().err
        assert main(LONG) == 0
    assert len(all_runs()) == 2


def test_a_new_run_is_locked_before_others_can_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process with the same command looks at it as soon as its record is there."""
    write, taken = Run.write, []

    def write_and_look(run: Run, name: str, value: dict) -> None:
        write(run, name, value)
        if name == "record":
            taken.append(run.claim())

    monkeypatch.setattr(Run, "write", write_and_look)
    assert main([*UNRECORDED, "--train.max_steps", "1"]) == 0
    assert taken == [None]


def test_a_run_that_was_finished_meanwhile_is_not_resumed(
    quick: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other process ends between the look at the run and the lock on it."""
    facts = {"digest": "some", "backend": "tensorflow"}
    run, lock = start_run(quick)
    run.write("record", facts)
    checkpoints = Checkpoints(run.checkpoints_dir, keep=2, every_steps=1, every_seconds=1.0)
    checkpoints.save(1, {"a/0000": np.array([1])}, {"step": 1})
    checkpoints.wait()
    lock.close()
    with resume._find_alike(quick, facts).lock, pytest.raises(UsageProblem, match="another pr"):
        resume._resume(run, quick, facts)
    claim = Run.claim

    def finish_and_claim(run: Run, name: str = "run") -> Lock | None:
        run.write_summary({"run_id": run.id})
        return claim(run, name)

    monkeypatch.setattr(Run, "claim", finish_and_claim)
    assert resume._find_alike(quick, facts) is None
    (run.path / "summary.json").unlink()
    with pytest.raises(UsageProblem, match="is finished"):
        resume._resume(run, quick, facts)


@pytest.mark.usefixtures("storage_without_locks")
def test_training_without_locks() -> None:
    assert main([*UNRECORDED, "--train.max_steps", "1"]) == 0


def truncated(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def changed(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def without_state(file: Path) -> None:
    arrays = read(file).arrays
    np.savez(file, **arrays)


@pytest.mark.parametrize("damage", [truncated, changed, emptied, without_state])
def test_a_damaged_checkpoint_is_reported_and_removed(
    damage: Callable, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = Checkpoints(tmp_path / "c", keep=2, every_steps=1, every_seconds=1.0)
    for step in (1, 2):
        checkpoints.save(step, {"a/0000": np.arange(1000) + step}, {"step": step})
        checkpoints.wait()
    damage(tmp_path / "c" / "step-00000002.npz")
    with caplog.at_level("WARNING"):
        assert read_newest(tmp_path / "c").state == {"step": 1}
    assert "step-00000002.npz is damaged" in caplog.text
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["step-00000001.npz"]


def test_training_resumes_at_the_checkpoint_before_a_damaged_one(
    interrupt: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*LONG, "--fresh"]) == 0
    interrupt(13)
    assert main([*LONG, "--fresh"]) == 75
    run = next(run for run in all_runs() if run.summary is None)
    files = sorted(run.checkpoints_dir.iterdir())
    truncated(files[-1])
    assert main(LONG) == 0
    assert f"{files[-1].name} is damaged" in capsys.readouterr().out
    one, two = (run.summary for run in all_runs())
    assert one["weights_sha256"] == two["weights_sha256"]
    assert {one["resumed_from_step"], two["resumed_from_step"]} == {
        None,
        read(files[-2]).state["step"],
    }


def test_the_newest_few_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", keep=2, every_steps=1, every_seconds=1.0)
    for step in (1, 2, 3):
        checkpoints.save(step, {"a/0000": np.array([step])}, {"step": step})
    checkpoints.wait()
    assert [path.name for path in sorted((tmp_path / "c").iterdir())] == [
        "step-00000002.npz",
        "step-00000003.npz",
    ]
    assert read_newest(tmp_path / "c").group("a")[0] == [3]


def test_full_disk_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path / "c", keep=2, every_steps=1, every_seconds=1.0)
    checkpoints.save(1, {"a/0000": np.array([1])}, {"step": 1})
    checkpoints.wait()

    def full(file: Path, **arrays) -> None:
        file.write_bytes(b"some")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    checkpoints.save(2, {"a/0000": np.array([2])}, {"step": 2})
    with pytest.raises(ProjectError, match=r"No space left on device; the last good .*00001\.npz"):
        checkpoints.wait()
    assert len(list((tmp_path / "c").iterdir())) == 1
    assert read_newest(tmp_path / "c").state == {"step": 1}


def test_weights_that_are_not_finite_are_not_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c", keep=2, every_steps=1, every_seconds=1.0)
    with pytest.raises(Diverged, match="weights are not finite after step 3; there is no checkp"):
        checkpoints.save(3, {"a/0000": np.array([np.nan])}, {"step": 3})
    assert not (tmp_path / "c").exists()


def test_divergence_keeps_and_names_the_last_finite_checkpoint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = loop.training_batches

    def with_a_nan(*args, **options):
        batches = broken(*args, **options)
        return batches.enumerate().map(
            lambda i, b: (*b[:2], keras.ops.where(i == 10, np.nan, b[2]))
        )

    monkeypatch.setattr(loop, "training_batches", with_a_nan)
    assert main([*LONG, "--train.steps_per_execution", "1"]) == 4
    (run,) = all_runs()
    last = run.checkpoints_dir / "step-00000008.npz"
    message = capsys.readouterr().err
    assert message.startswith("error: training diverged: the loss is nan at step 11; try a lower ")
    assert message.endswith(f"; the last good checkpoint is {last}.\n")
    assert all(np.isfinite(array).all() for array in read(last).arrays.values())


def test_second_signal_stops_at_once() -> None:
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested == "SIGINT"
        with pytest.raises(Interrupted, match="a second SIGTERM"):
            os.kill(os.getpid(), signal.SIGTERM)


def test_interrupted_lines_are_cut(own_folder: Path) -> None:
    run = Run(own_folder)
    run.append_metrics(1, 1, {"train/loss": 1.0})
    size = run.metrics_size()
    with run.metrics_file.open("a") as file:
        file.write(json.dumps({"step": 2})[:-3])
    assert [line["step"] for line in run.read_metrics()] == [1]
    run.truncate_metrics(size)
    assert run.metrics_size() == size
