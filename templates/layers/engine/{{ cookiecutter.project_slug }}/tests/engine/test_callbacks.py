"""Callbacks of Keras in the training loop."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest

from {{ cookiecutter.package_name }}.__main__ import train
from {{ cookiecutter.package_name }}.engine.runs import all_runs, find_run

from ..conftest import UNRECORDED

# Five steps an epoch, each a call of its own.
WORDS = [*UNRECORDED, "--train.max_steps", "10", "--train.steps_per_execution", "1"]


class Recorder(keras.callbacks.Callback):
    """Keeps the moments at which it is called; all runs of a test share the list."""

    calls: list[tuple[str, Any]]

    def __init__(self) -> None:
        super().__init__()
        self.epochs = 0

    def on_train_begin(self, logs: dict | None = None) -> None:
        assert self.model.optimizer is not None
        self.calls.append(("train begin", None))

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self.calls.append(("epoch begin", epoch))

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        assert set(logs) == {"loss", "accuracy"}
        self.calls.append(("batch", batch))

    def on_test_end(self, logs: dict | None = None) -> None:
        self.calls.append(("test", sorted(logs)))

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        assert set(logs) == {"loss", "accuracy", "val_loss", "val_accuracy"}
        self.epochs += 1
        self.calls.append(("epoch end", self.epochs))

    def on_train_end(self, logs: dict | None = None) -> None:
        self.calls.append(("train end", sorted(logs)))

    def get_state(self) -> dict[str, int]:
        return {"epochs": self.epochs}

    def set_state(self, state: dict[str, int]) -> None:
        self.epochs = state["epochs"]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> type[Recorder]:
    monkeypatch.setattr(Recorder, "calls", [], raising=False)
    return Recorder


def test_they_are_called_as_by_fit(use_task: Callable, recorder: type[Recorder]) -> None:
    use_task(callbacks={"recorder": lambda config, preprocessing: recorder()})
    assert train(WORDS) == 0
    epoch = [("batch", number) for number in range(5)]
    test = ("test", ["accuracy", "loss"])
    assert recorder.calls == [
        ("train begin", None),
        *(("epoch begin", 0), *epoch, test, ("epoch end", 1)),
        *(("epoch begin", 1), *epoch, test, ("epoch end", 2)),
        ("train end", ["accuracy", "loss", "val_accuracy", "val_loss"]),
    ]


def test_they_change_nothing_of_what_is_learnt(
    use_task: Callable, recorder: type[Recorder]
) -> None:
    assert train(WORDS) == 0
    use_task(callbacks={"recorder": lambda config, preprocessing: recorder()})
    assert train([*WORDS, "--fresh"]) == 0
    one, two = (run.summary["weights_sha256"] for run in all_runs())
    assert one == two


def test_one_may_stop_training(use_task: Callable) -> None:
    def stop_early(config: Any, preprocessing: Any) -> keras.callbacks.Callback:
        return keras.callbacks.EarlyStopping("val_loss", patience=0, min_delta=100.0)

    use_task(callbacks={"stop": stop_early})
    assert train([*UNRECORDED, "--train.max_steps", "40"]) == 0
    assert find_run("latest").summary["steps"] == 10, "after the second epoch"


def test_a_state_is_part_of_checkpoints(
    use_task: Callable, recorder: type[Recorder], interrupt: Callable
) -> None:
    use_task(callbacks={"recorder": lambda config, preprocessing: recorder()})
    words = [*WORDS, "--train.log_every_steps", "1", "--train.checkpoint_every_steps", "1"]
    interrupt(7)
    assert train(words) == 75
    assert train(words) == 0
    assert [value for name, value in recorder.calls if name == "epoch end"] == [1, 2]


def test_tensorboard() -> None:
    pytest.importorskip("tensorboard")
    words = ["--train.tensorboard", "true", "--train.profile_steps", "2:4"]
    assert train([*WORDS, *words]) == 0
    folder = find_run("latest").path / "tensorboard"
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert any(name.endswith(".xplane.pb") for name in names), "the trace"
    assert scalars(folder / "validation") >= {"epoch_loss", "epoch_accuracy"}


def scalars(folder: Path) -> set[str]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return set(events.Tags()["tensors"]) | set(events.Tags()["scalars"])


def test_a_wrong_range_of_steps_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert train([*WORDS, "--train.profile_steps", "100-110"]) == 2
    assert "train.profile_steps: '100-110' is not allowed" in capsys.readouterr().err
