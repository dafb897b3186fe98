"""What the engine asks a task's ``explain``."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from {{ cookiecutter.package_name }}.__main__ import load_project
from {{ cookiecutter.package_name }}.engine.artifact import Artifact
from {{ cookiecutter.package_name }}.engine.commands import predict
from {{ cookiecutter.package_name }}.engine.errors import UsageProblem
from {{ cookiecutter.package_name }}.engine.interfaces import Split, Task


def test_predict_says_that_a_task_explains_nothing(
    tiny_task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predict, "find_run", lambda name: None)
    project = replace(load_project(), add_prediction_arguments=lambda parser: None)
    with pytest.raises(UsageProblem, match=r"--explain: .* no function 'explain'"):
        predict.run(project, ["--explain"])
    model = Artifact(keras.Sequential(), None, tiny_task)
    with pytest.raises(UsageProblem, match="it has no 'explain'"):
        model.explain(Split(np.array(["a"]), np.array([0]), lambda at: at))


def test_a_model_hands_positions_and_names_to_its_task(use_task: Callable[..., Task]) -> None:
    asked = []

    def explain(model: Artifact, split: Split, positions: np.ndarray, names: Any) -> list[int]:
        asked.append((positions.tolist(), names))
        return list(positions)

    model = Artifact(keras.Sequential(), None, use_task(explain=explain))
    split = Split(np.array(["a", "b"]), np.array([0, 1]), lambda at: at)
    assert model.explain(split) == [0, 1]
    assert model.explain(split, [1], ["x"]) == [1]
    assert model.explain(split, []) == []
    assert asked == [([0, 1], None), ([1], ["x"])]
