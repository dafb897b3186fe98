"""``aistart doctor`` on a real project with its real environment: TensorFlow and JAX are asked."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.environments import project_python

pytestmark = pytest.mark.slow
Doctor = Callable[..., dict[str, dict[str, str | None]]]


@pytest.fixture
def doctor(aistart: Callable, demo: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """The findings by their checks, with these variables in the environment."""
    (demo / ".venv").symlink_to(project_python().parents[1])
    monkeypatch.chdir(demo)
    monkeypatch.setenv("PYTHONPATH", str(demo / "src"))

    def call(**variables: str) -> dict[str, dict[str, str | None]]:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        result = aistart("doctor", "--json")
        found = {finding["check"]: finding for finding in json.loads(result.output)}
        worst = {finding["status"] for finding in found.values()}
        expected = 1 if "problem" in worst else 3 if "warning" in worst else 0
        assert result.exit_code == expected
        return found

    return call


def test_versions_are_the_locks(doctor: Doctor, demo: Path) -> None:
    found = doctor()
    lock = (demo / "requirements.lock").read_text()
    for name in ("tensorflow", "keras", "mlflow"):
        assert found[name]["status"] == "ok"
        assert f"\n{name}=={str(found[name]['message']).removesuffix(', as tested')} \\" in lock
    for check in ("project", "environment", "python", "packages", "gpu", "tracking"):
        assert found[check]["status"] == "ok", found[check]
    why = "single on TensorFlow (auto picks it): one device, because it sees 1 CPU device"
    assert found["strategy"]["message"] == why
    assert str(found["batch size"]["message"]).startswith("32 to begin with, as configured;")
    assert not any(finding["status"] == "problem" for finding in found.values())
    assert not list(demo.glob("mlflow.db")) + list(demo.glob("runs"))


def test_jax_on_four_devices(doctor: Doctor) -> None:
    found = doctor(KERAS_BACKEND="jax", APP__RUNTIME__VIRTUAL_DEVICES="4")
    assert found["jax"]["message"] == "0.10.2, within >=0.10,<0.11"
    why = "data_parallel on JAX (auto picks it): 4 replicas on 4 devices, because it sees 4 CPU"
    assert found["strategy"]["message"] == f"{why} devices"
    assert str(found["batch size"]["message"]).startswith("128 to begin with: the configured 32")


def test_it_waits_for_no_other_workers(doctor: Doctor) -> None:
    cluster = {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}
    config = {"cluster": cluster, "task": {"type": "worker", "index": 0}}
    found = doctor(TF_CONFIG=json.dumps(config))
    why = "one of 2 workers, named by the environment"
    assert found["strategy"]["message"] == f"multi_worker on TensorFlow (auto picks it): {why}"


def test_what_train_would_refuse(doctor: Doctor) -> None:
    found = doctor(APP__TRAIN__EPOCH="5")
    assert found["strategy"]["status"] == "problem"
    assert "'APP__TRAIN__EPOCH' is unknown" in str(found["strategy"]["message"])
    assert found["strategy"]["fix"] == ".venv/bin/python -m demo config"


def test_a_gpu_that_tensorflow_cannot_use(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver is fake, the missing libraries are not."""
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 'NVIDIA L4, 23034 MiB, 570.86.15'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    gpu = doctor()["gpu"]
    assert gpu["status"] == "problem"
    assert str(gpu["message"]).startswith(
        "1 x NVIDIA L4 (23034 MiB), driver 570.86.15; TensorFlow sees none: CUDA's libraries are "
        "not installed: nvidia-cublas-cu12, "
    )
    assert str(gpu["fix"]).endswith(" -e '.[gpu]'")
