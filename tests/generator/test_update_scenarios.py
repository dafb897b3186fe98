"""Random templates, changes and edits: no byte of the user's is lost, and nothing fails silently.

``AISTART_SCENARIOS=1000`` plays more of them; so does ``python -m tests.benchmarks.update``.
"""

import os

import pytest

from tests.generator.scenarios import run_scenarios

COUNT = int(os.environ.get("AISTART_SCENARIOS", "60"))
PARTS = 4  # so that several processes share them


@pytest.mark.parametrize("part", range(PARTS))
def test_scenarios(part: int) -> None:
    problems, conflicts = run_scenarios(range(part, COUNT, PARTS))
    assert problems == []
    assert conflicts, "no edit met a change: the scenarios are too tame"
