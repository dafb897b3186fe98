"""Generated projects as a user has them, in the environment that all tests share."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.environments import project_python
from tests.generated.servers import Postgres
from tests.generated.typed_projects import warm_command, warm_python

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def socket() -> Iterator[Path]:
    """That of a Python with the heavy packages imported."""
    with warm_python() as path:
        yield path


@pytest.fixture(scope="session")
def run_in(socket: Path) -> Run:
    """Run a module of a project: ``run_in(folder, "demo", "train", "--train.epochs", "1")``.

    Commands of the project begin in the warm Python where they can.
    """

    def run(folder: Path, module: str, *words: str, **options: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(folder / "src"), **options}
        begin = warm_command(socket) if module == "demo" else [str(project_python()), "-m"]
        command = [*begin, module, *words]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    return run


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A database, for all tests."""
    cluster = Postgres()
    yield cluster
    cluster.remove()


@pytest.fixture
def demo(aistart: Callable, isolated: Path) -> Path:
    """A fresh default project whose package is ``demo``."""
    assert aistart("new", "vision-classifier", "demo", "-y").exit_code == 0
    return isolated / "demo"


@pytest.fixture
def shop_demo(aistart: Callable, isolated: Path) -> Path:
    """A fresh default project for recommendations whose package is ``demo``."""
    assert aistart("new", "recommender", "demo", "-y").exit_code == 0
    return isolated / "demo"


@pytest.fixture
def clinic_demo(aistart: Callable, isolated: Path) -> Path:
    """A fresh default project for patients whose package is ``demo``."""
    assert aistart("new", "medical-diagnosis", "demo", "-y").exit_code == 0
    return isolated / "demo"


@pytest.fixture
def text_demo(aistart: Callable, isolated: Path) -> Path:
    """A fresh default project for texts whose package is ``demo``."""
    assert aistart("new", "text-classifier", "demo", "-y").exit_code == 0
    return isolated / "demo"
