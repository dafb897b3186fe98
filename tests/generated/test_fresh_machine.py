"""The quickstart as a newcomer types it: a fresh clone, an empty HOME, nothing installed."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.environments import REPOSITORY
from tests.generated.documents import compare_output

# What a machine's administrator may have set; everything else is left out.
KEPT = ("PATH", "PIP_", "SSL_", "REQUESTS_", "LANG", "http", "https", "HTTP", "HTTPS", "no_proxy")


def read_shown_output() -> list[str]:
    """Return what README.md shows of the output, below the command."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    _, _, rest = text.partition("\nbash examples/quickstart.sh\n")
    _, _, rest = rest.partition("```text\n")
    return rest.partition("\n```")[0].splitlines()


@pytest.mark.slow
@pytest.mark.minutes(3)
def test_quickstart_on_a_fresh_machine(isolated: Path) -> None:
    clone = isolated / "aistart"
    subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
    home = isolated / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if k.startswith(KEPT)} | {"HOME": str(home)}
    command = ["bash", "aistart/examples/quickstart.sh", "my-classifier"]
    shown = read_shown_output()
    for _ in range(2):  # running it twice is fine
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        lines = done.stdout.splitlines()
        (row,) = (line for line in lines if line.startswith("cnn "))
        (baseline,) = (line for line in lines if line.startswith("logistic regression "))
        assert float(row.split()[1]) > float(baseline.split()[2])
        assert any(line.startswith("Run folder: ") for line in lines)
        assert "make ui" in lines[-1]
        assert compare_output(("…", *shown, "…"), done.stdout) is None
    assert len(list((isolated / "my-classifier/runs").iterdir())) == 2
    # The everyday way finds the same environment.
    make = ["make", "-C", "my-classifier", "train", "ARGS=--config configs/smoke.yaml"]
    done = subprocess.run(make, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Run folder: " in done.stdout
    assert "pip install" not in done.stdout
    status = ["git", "-C", "my-classifier", "status", "--porcelain"]
    assert subprocess.run(status, capture_output=True, text=True).stdout == ""
