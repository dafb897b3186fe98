"""A batch means the same on any number of devices."""

import pytest

from {{ cookiecutter.package_name }}.__main__ import train as main
from {{ cookiecutter.package_name }}.engine.runs import Run, all_runs

from . import domain
from .conftest import UNRECORDED
from .domain import METRIC, WITHOUT_CHANCE


def losses(run: Run) -> list[float]:
    return [line["metrics"]["train/loss"] for line in run.read_metrics()]


@pytest.mark.usefixtures("fit_alone")
@pytest.mark.parametrize("batch_size", ["32", "25"])
def test_two_replicas_learn_as_one_device(batch_size: str) -> None:
    words = [*UNRECORDED, *WITHOUT_CHANCE, "--data.batch_size", batch_size]
    words += ["--train.max_steps", "20"]
    words += ["--train.log_every_steps", "1", "--train.gradient_clip_norm", "0.5"]
    assert main([*words, "--runtime.strategy", "single"]) == 0
    assert main([*words, "--runtime.strategy", "mirrored"]) == 0
    one, two = sorted(all_runs(), key=lambda run: run.summary["replicas"])
    assert (one.summary["replicas"], two.summary["replicas"]) == (1, 2)
    assert len(losses(one)) >= 20
    # The epochs' last batches are incomplete: 140 examples.
    assert one.summary["data"]["train"] % int(batch_size) != 0
    assert losses(two) == pytest.approx(losses(one), rel=1e-3)
    ends = [line["metrics"] for run in (one, two) for line in run.read_metrics()[-1:]]
    name = f"validation/{METRIC}"
    data = two.summary["data"]
    # Models that write are right about tokens, not about examples.
    units = getattr(domain, "UNITS", "")
    size = data[units]["validation"] if units else data["validation"]
    right = [end[name] * size for end in ends]
    # Ties may fall either way: one, or of many examples one in a hundred.
    assert right[0] == pytest.approx(right[1], abs=max(1, 0.01 * size) + 1e-3)
    assert right[1] == pytest.approx(round(right[1]), abs=1e-3), "each is counted once"
