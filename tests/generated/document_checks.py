"""Checks of commands that cannot be run here: their files, targets, extras and words exist.

Each function takes a command's words and the project, and raises ``ValueError`` if one is wrong.
"""

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from tests.generated.typed_projects import PROGRAM, SCRIPTS, TypedProject

Check = Callable[[list[str], TypedProject], None]
_RUN_FLAGS = {"--fresh": 0, "--resume": 1, "--measure": 1}  # of train, besides fields


def check_words(words: list[str], typed: TypedProject) -> None:
    """Check a command of the project: its options, and for ``train`` the values of fields too."""
    words = [word for word in words if not re.fullmatch(r"[A-Z_]+=.*", word)]
    program, *rest = words
    program = program.removeprefix(".venv/bin/")
    name, rest = (program, rest) if program in SCRIPTS else (rest[0], rest[1:])
    if name == "launch" and "--" in rest:
        cut = rest.index("--")
        check_words(["train", *rest[cut + 1 :]], typed)
        rest = rest[:cut]
    # A sentence may name an option without its value.
    is_complete = not rest or rest[-1] in _RUN_FLAGS or not rest[-1].startswith("--")
    if name == "train" and is_complete:
        _accept(typed, f"{PROGRAM} config", _leave_out(rest, _RUN_FLAGS))
        rest = [word for word in rest if word in _RUN_FLAGS]
    # `runs compare` and `serve keys add` have a parser of their own.
    path = [name]
    while rest and name in ("runs", "serve") and re.fullmatch(r"[a-z]+", rest[0]):
        path.append(rest.pop(0))
    shown = _accept(typed, f"{PROGRAM} {' '.join(path)}", ["--help"])
    fields = _accept(typed, f"{PROGRAM} config", ["--help"])
    for word in rest:
        option = word.partition("=")[0]
        if option.startswith("--") and not re.search(rf"{re.escape(option)}\b", shown + fields):
            raise ValueError(f"{option} is not in the help of {' '.join(path)}")


def check_make(words: list[str], typed: TypedProject) -> None:
    """Check that the targets exist."""
    _accept(typed, "make -n", words[1:])


def check_docker(words: list[str], typed: TypedProject) -> None:
    """Check files, stages and arguments of builds, and what containers run."""
    options = _options(words)
    match words[1:]:
        case ["build", *_]:
            file = typed.project / options.get("-f", ["Dockerfile"])[0]
            text = file.read_text(encoding="utf-8")
            _expect("--target", options.get("--target", []), re.findall(r"FROM .* AS (\S+)", text))
            given = [value.partition("=")[0] for value in options.get("--build-arg", [])]
            _expect("--build-arg", given, re.findall(r"^ARG (\w+)", text, re.MULTILINE))
            given = [value.partition("=")[0] for value in options.get("--build-context", [])]
            _expect("--build-context", given, re.findall(r"COPY --from=(\S+)", text))
        case ["compose", "up", *_]:
            _read_services(typed)
        case ["compose", "run", *rest]:
            services = _read_services(typed)
            positions = [n for n, word in enumerate(rest) if word in services]
            if not positions:
                raise ValueError(f"none of the services {', '.join(services)} is named")
            name, more = rest[positions[-1]], rest[positions[-1] + 1 :]
            # `run --entrypoint demo train monitor …`: the service is named first.
            if entrypoint := options.get("--entrypoint"):
                name, more = rest[positions[0]], rest[positions[0] + 1 :]
                check_words([entrypoint[0], *more], typed)
            elif more:
                check_words([name, *more], typed)
        case ["run", *rest]:
            image = next(n for n, word in enumerate(rest) if word.startswith(f"{PROGRAM}:"))
            name = "Dockerfile.serve" if rest[image].endswith("serve") else "Dockerfile"
            text = (typed.project / name).read_text(encoding="utf-8")
            entry = json.loads(re.findall(r"^ENTRYPOINT (.*)", text, re.MULTILINE)[-1])
            check_words([*entry, *rest[image + 1 :]], typed)
            for volume in options.get("-v", []):
                if (place := volume.split(":")[1]) not in text:
                    raise ValueError(f"{place} is not in {name}")
        case ["stop", *_]:
            pass
        case _:
            raise ValueError("unknown command of docker")


def check_kubectl(words: list[str], typed: TypedProject) -> None:
    """Check that manifests exist and parse, and that what is patched is in one."""
    options = _options(words)
    for name in options.get("-f", []) + options.get("--patch-file", []):
        for part in _read_yaml(typed.project / name):
            if words[1] == "apply" and not {"apiVersion", "kind", "metadata"} <= set(part):
                raise ValueError(f"{name} has a part that is no manifest")
    if words[1] == "patch":
        parts = [
            part
            for file in (typed.project / "deploy/kubernetes").glob("*.yaml")
            for part in _read_yaml(file)
        ]
        known = [f"{part['kind'].lower()} {part['metadata']['name']}" for part in parts]
        _expect("patch", [" ".join(words[2:4])], known)


def check_install(words: list[str], typed: TypedProject) -> None:
    """Check extras and files of ``pip install`` and its relatives."""
    options = _options(words)
    project = tomllib.loads((typed.project / "pyproject.toml").read_text(encoding="utf-8"))
    extras = list(project["project"]["optional-dependencies"])
    for word in words:
        if match := re.fullmatch(r"\.\[(.*)\]", word):
            _expect("extra", match[1].split(","), extras)
    _expect("--extra", options.get("--extra", []), extras)
    for word in [*options.get("-r", []), *(w for w in words if re.fullmatch(r"\w\S*\.lock", w))]:
        if not (typed.project / word).is_file():
            raise ValueError(f"{word} does not exist")


def check_nothing(words: list[str], typed: TypedProject) -> None:
    """Nothing of it can be checked here."""


def check_cluster(words: list[str], typed: TypedProject) -> None:
    """Check the words of a command that a cluster starts, and ``TF_CONFIG``."""
    if words[0].startswith("TF_CONFIG="):
        cluster = json.loads(words[0].partition("=")[2])
        task = cluster["task"]
        if task["index"] >= len(cluster["cluster"][task["type"]]):
            raise ValueError("the task is not in the cluster")
    check_words(words[1:], typed)


# By the first word of a command.
CHECKS: dict[str, Check] = {
    PROGRAM: check_words,
    **dict.fromkeys(SCRIPTS, check_words),
    **{f".venv/bin/{name}": check_words for name in (PROGRAM, *SCRIPTS)},
    "make": check_make,
    "docker": check_docker,
    "kubectl": check_kubectl,
    **dict.fromkeys(("pip", ".venv/bin/pip", "uv", "python3"), check_install),
    "python": check_nothing,
    "mlflow": check_nothing,
    "tensorboard": check_nothing,
    "srun": check_cluster,
}


def check(text_words: list[str], typed: TypedProject) -> str | None:
    """Check a command by its program, and return what is wrong or None."""
    words = list(text_words)
    try:
        if words[0].startswith("TF_CONFIG="):
            check_cluster(words, typed)
            return None
        while re.fullmatch(r"[A-Z_]+=.*", words[0]):
            words.pop(0)
        CHECKS[words[0]](words, typed)
    except (ValueError, KeyError, IndexError, OSError, StopIteration) as error:
        return f"{type(error).__name__}: {error}"
    return None


def _accept(typed: TypedProject, program: str, words: list[str]) -> str:
    key = (program, *words)
    if key not in typed.answers:
        quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
        done = typed.run(f"{program} {quoted}")
        if done.returncode:
            raise ValueError(f"{program} {quoted}: exit {done.returncode}: {done.stdout[-500:]}")
        typed.answers[key] = done.stdout
    return typed.answers[key]


def _leave_out(words: list[str], flags: dict[str, int]) -> list[str]:
    left, rest = [], list(words)
    while rest:
        word = rest.pop(0)
        if word in flags:
            del rest[: flags[word]]
        else:
            left.append(word)
    return left


def _options(words: list[str]) -> dict[str, list[str]]:
    options: dict[str, list[str]] = {}
    for option, value in zip(words, [*words[1:], ""], strict=False):
        if option.startswith("-"):
            options.setdefault(option, []).append(value)
    return options


def _expect(what: str, given: list[str], known: list[str]) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f"{what} {name!r} is none of {', '.join(known)}")


def _read_yaml(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [part for part in yaml.safe_load_all(file) if part]


def _read_services(typed: TypedProject) -> list[str]:
    (content,) = _read_yaml(typed.project / "compose.yaml")
    return list(content["services"])
