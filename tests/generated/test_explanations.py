"""Explanations on JAX; on TensorFlow they are among each project's own tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from aistart.catalog import find_templates
from tests.environments import COMPILE_QUICKLY

pytestmark = [pytest.mark.slow, pytest.mark.minutes(3)]

# Of text's models, those whose steps JAX compiles for each length take minutes.
LEFT_OUT = {"text-classifier": "not bilstm and not transformer and not preset"}


# Models that write explain nothing.
@pytest.mark.parametrize("template", [t for t in find_templates() if t != "language-model"])
def test_explanations_on_jax(
    template: str, aistart: Callable, isolated: Path, run_in: Callable
) -> None:
    assert aistart("new", template, "demo", "-y").exit_code == 0
    words = ["tests/test_explanations.py"]
    if template == "vision-classifier":
        # The engine's are the same in every project; the large models take minutes to compile.
        words += ["tests/engine/test_explanations.py"]
    words += ["-k", LEFT_OUT[template]] if template in LEFT_OUT else []
    words = ["-q", "-p", "no:cacheprovider", *words]
    done = run_in(isolated / "demo", "pytest", *words, KERAS_BACKEND="jax", **COMPILE_QUICKLY)
    assert done.returncode == 0, done.stdout[-5000:]
