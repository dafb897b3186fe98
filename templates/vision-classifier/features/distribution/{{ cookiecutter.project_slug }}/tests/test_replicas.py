"""Replicas of networks whose layers look at a whole batch."""

import pytest

from {{ cookiecutter.package_name }}.__main__ import train as main
from {{ cookiecutter.package_name }}.engine.runs import find_run

from .conftest import UNRECORDED


@pytest.mark.slow
def test_replicas_of_a_network_with_batch_normalisation() -> None:
    # 140 training images in batches of 23: a rest of 2, for three replicas too few.
    words = ["--model.name", "resnet", "--runtime.strategy", "mirrored", "--data.batch_size", "23"]
    assert main([*UNRECORDED, *words]) == 0
    assert find_run("latest").summary["steps"] == 6
