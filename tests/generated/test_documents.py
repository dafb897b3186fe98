"""Every command in the documents of a project works, as it stands there.

For each template a project with all features is made, and the commands of its documents are typed
in it, in order. What documents of several templates share is typed in one of them. ``TABLE`` names
the commands that no machine of the tests can run, or that are typed in another way, and says why;
each of its entries must be needed.
"""

import csv
import json
import re
import sys
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.environments import REPOSITORY
from tests.generated import document_checks
from tests.generated.documents import Command, find_commands, find_spans, find_unmarked
from tests.generated.typed_projects import (
    PROGRAM,
    TypedProject,
    is_server,
    render,
    write_png,
)

TEMPLATES = (
    "vision-classifier",
    "text-classifier",
    "recommender",
    "medical-diagnosis",
    "language-model",
)
PROGRAMS = (*document_checks.CHECKS, "aistart", "curl")
# Documents whose commands are typed one after the other in one project. Whatever is in no group has
# a project of its own.
GROUPS = {
    "manual": ("README.md", "CONTRIBUTING.md"),
    "onboarding": ("docs/onboarding.md",),
}
# Where a shared document's commands are typed, if not in the first template.
HOMES = {"docs/inference_protocol.md": "text-classifier"}
# What has something to type.
PROJECTS = (
    *((template, group) for template in TEMPLATES for group in GROUPS),
    ("vision-classifier", "docs/scaling.md"),
    ("text-classifier", "docs/inference_protocol.md"),
)
# Minutes each, of what the tests of the rest cover but for the wording: typed by `-m long`.
LONG = (
    *((template, "onboarding") for template in TEMPLATES[1:]),
    ("vision-classifier", "docs/scaling.md"),
)
# A first colleague's hour is typed in every template, from top to bottom.
TYPED_EVERYWHERE = ("docs/onboarding.md",)


@dataclass(frozen=True)
class Entry:
    """How a command is dealt with that is not typed as it stands.

    Attributes:
        why: the reason.
        text: what is typed in its place; by template if it differs.
        message: what is printed, if the command has to fail here, by exit code.
        is_checked: it is not run; its files, targets and words are checked.
        is_once: the same, except in the first template.
        service: runs before it, if no other one does, of a model that is trained for it.
        variables: of the environment.
    """

    why: str
    text: str | Mapping[str, str] = ""
    message: Mapping[int, str] = field(default_factory=dict)
    is_checked: bool = False
    is_once: bool = False
    service: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)

    def text_for(self, template: str, command: Command) -> str:
        """Return what is typed."""
        text = self.text if isinstance(self.text, str) else self.text[template]
        return text or command.text


def type_instead(text: str | Mapping[str, str], why: str, **more: str) -> Entry:
    """Return an entry for a command with placeholders, or a shorter one."""
    return Entry(why, text=text, **more)


def with_tracking(text: str = "", why: str = "later commands need a registered model") -> Entry:
    """Return an entry for a command that MLflow records."""
    return Entry(why, text=text, variables={"APP__TRACKING__ENABLED": "true"})


def fails(exit_code: int, message: str, why: str) -> Entry:
    """Return an entry for a command that this machine has to refuse."""
    return Entry(why, message={exit_code: message})


def check_only(why: str) -> Entry:
    """Return an entry for a command that is not run."""
    return Entry(why, is_checked=True)


FIRST_RUN, LAST_RUN = "$(ls runs | head -1)", "$(ls runs | tail -1)"
ASK = 'curl -s -H "Content-Type: application/json" -d @row.json http://127.0.0.1:8000/predict'
COMMIT = "git add --all && git commit --quiet --message 'All of it' && "

# By the command without its comment; `*` at the end stands for anything.
TABLE: dict[str, Entry] = {
    # === Not run ===
    "docker *": check_only("no Docker here; test_containers.py builds and runs the images"),
    "kubectl *": check_only("no cluster here; test_render.py checks manifests by their schemas"),
    "pip install *": check_only("the environment has the extras; packages are not installed anew"),
    ".venv/bin/pip install *": check_only("as above"),
    "uv pip *": check_only("as above; locks are made by lock_templates.py"),
    "make hooks": check_only("packages are not installed; test_contributing.py makes commits"),
    "make run-hooks": check_only("as above"),
    "make lint test": check_only("test_projects.py and test_render.py run both"),
    "make test lint": check_only("as above"),
    "make setup lint test": check_only("as above"),
    "TF_CONFIG=*": check_only("there is one machine; test_faults.py starts two workers"),
    "srun *": check_only("no Slurm here"),
    "train --train.epochs 5 --train.seed 1": check_only(
        "other values than those of docs/onboarding.md"
    ),
    "APP__TRAIN__EPOCHS=5 train": check_only("as above"),
    "train --runtime.virtual_devices 4 --runtime.backend jax --runtime.strategy model_parallel": (
        check_only("test_projects.py trains so; JAX compiles for half a minute")
    ),
    "train --model.name preset *": check_only("gigabytes; test_huggingface.py has tiny presets"),
    "demo export --run models:/demo@champion --format adapter": check_only("as above"),
    "python -m demo.evaluation.lm_eval *": check_only("lm-eval is not installed, nor its data"),
    # === Typed once, since test_projects.py does so in every template ===
    "make lint": Entry("half a minute", is_once=True),
    "python -m pytest -q tests/test_preprocessing.py tests/engine/test_architecture.py": Entry(
        "as above", is_once=True
    ),
    # === Refused here, as documents say: no GPU, no TPU ===
    "train --config configs/multi_gpu.yaml": fails(2, "runtime.strategy", "no GPUs here"),
    "train --runtime.devices 2": fails(2, "runtime.devices", "no GPUs here"),
    "train --config configs/tpu.yaml": fails(2, "TPU", "no TPU here"),
    # === Placeholders, and what would take long ===
    "make train": with_tracking(),
    "demo inspect PATH": type_instead(
        {
            "vision-classifier": "demo inspect data/flowers",
            "text-classifier": "demo inspect data/mails.csv",
            "recommender": "demo inspect data/events.csv",
        },
        "PATH",
    ),
    "evaluate --by COLUMN": type_instead(
        "evaluate --data.source csv --data.path data/flowers.csv --by camera", "COLUMN"
    ),
    "demo runs compare A B --html compare.html": type_instead(
        f"demo runs compare {FIRST_RUN} {LAST_RUN} --html compare.html", "A and B"
    ),
    "demo promote --dry-run": with_tracking(
        "train --fresh --train.seed 7 >/dev/null && demo promote --dry-run",
        "a candidate with enough test examples",
    ),
    "demo promote --rollback": fails(1, "champion", "there was none before"),
    "demo tune --trials 20": type_instead("demo tune --trials 2", "two say enough"),
    "demo serve --run models:/NAME@champion --serve.follow true": type_instead(
        "demo serve --run models:/demo@champion --serve.follow true", "NAME"
    ),
    "demo serve --model small=latest --model large=models:/NAME/7": type_instead(
        "demo serve --model small=latest --model large=models:/demo@champion", "NAME and version"
    ),
    "demo serve keys add NAME": type_instead("demo serve keys add reader", "NAME"),
    "demo export --distill MODEL --format litert": type_instead(
        "demo export --distill mlp --format litert", "MODEL"
    ),
    "demo monitor --logged --monitor.samples=samples": type_instead(
        f"for n in $(seq 20); do {ASK} >/dev/null; done; sleep 2; "
        "demo monitor --logged --monitor.samples=samples",
        "the service has to be asked first",
    ),
    "demo monitor FILE --labels labels.csv": type_instead(
        "demo monitor photos --labels labels.csv", "FILE"
    ),
    "curl -s http://127.0.0.1:8000/v2/models/NAME": type_instead(
        "curl -s http://127.0.0.1:8000/v2/models/demo", "NAME", service="demo serve"
    ),
    "curl -s http://127.0.0.1:8000/v2/models/NAME/infer -d *": type_instead(
        'curl -s http://127.0.0.1:8000/v2/models/demo/infer -d \'{"inputs": [{"name": '
        '"text", "datatype": "BYTES", "shape": [2], "data": ["first row", "second row"]}]}\'',
        "NAME and FIELD",
        service="demo serve",
    ),
    "demo cross-validate --config configs/my_data.yaml --folds 5 --repeats 2": type_instead(
        "demo cross-validate --config configs/my_data.yaml --folds 2 --repeats 1",
        "two say enough",
    ),
    "aistart update *": type_instead(
        f"{COMMIT} aistart update --dry-run", "what was typed before has to be committed"
    ),
}


def find_entry(command: Command) -> tuple[str, Entry] | None:
    """Return the table's entry for a command, the longest that fits.

    A document that is typed from top to bottom has no placeholders.
    """
    text = " ".join(re.sub(r"\s+#\s.*", "", command.text).split())
    for key in sorted(TABLE, key=len, reverse=True):
        is_as_shown = command.document in TYPED_EVERYWHERE and TABLE[key].text
        if text == key or (key.endswith("*") and text.startswith(key[:-1])):
            return None if is_as_shown else (key, TABLE[key])
    return None


# === Documents ===


@cache
def read_documents(template: str) -> dict[str, str]:
    """Texts of a project's documents by their path."""
    with TemporaryDirectory() as folder:
        project = render(template, Path(folder))
        return {
            str(file.relative_to(project)): file.read_text(encoding="utf-8")
            for file in sorted(project.rglob("*.md"))
        }


@cache
def choose_commands(template: str, find: Callable[..., list[Command]]) -> tuple[Command, ...]:
    """Return the commands that are typed in a template's project: fences that no other one has."""
    homes: dict[tuple[str, ...], str] = {}
    chosen: list[Command] = []
    for other in TEMPLATES:
        commands = find_all(other, find)
        for (document, _), group in groupby(commands, lambda c: (c.document, c.fence or c.line)):
            fence = list(group)
            key = (document, *(command.text for command in fence))
            home = homes.setdefault(key, HOMES.get(document, other))
            if other == template and (home == template or document in TYPED_EVERYWHERE):
                chosen += fence
    return tuple(chosen)


def find_all(template: str, find: Callable[..., list[Command]]) -> list[Command]:
    """Return all commands of a template's documents."""
    return [
        command
        for document, text in read_documents(template).items()
        for command in find(document, text)
    ]


def find_code_spans(document: str, text: str) -> list[Command]:
    """Return code spans that begin with a program."""
    return find_spans(document, text, PROGRAMS)


def group_of(document: str) -> str:
    """Return the name of the project in which a document's commands are typed."""
    return next((name for name, documents in GROUPS.items() if document in documents), document)


# === What users are asked to have ===


def write_data(template: str, project: Path) -> None:
    """Write the files that documents name as the reader's own."""
    {
        "vision-classifier": _write_flowers,
        "text-classifier": _write_mails,
        "recommender": _write_events,
        "medical-diagnosis": _write_visits,
        "language-model": _write_texts,
    }[template](project)


def _write_flowers(project: Path) -> None:
    for number in range(40):
        for shade, name in ((20, "daisy"), (200, "rose")):
            file = project / f"data/flowers/{name}/{number}.png"
            write_png(file, shade + number)
    files = sorted((project / "data/flowers").glob("*/*.png"))
    rows = [[str(file), file.parent.name, f"camera {n % 2}"] for n, file in enumerate(files)]
    _write_table(project / "data/flowers.csv", ["path", "label", "camera"], rows)
    for number in range(5):
        write_png(project / f"photos/{number}.png", 40 * number)
    row = {"image": b64encode((project / "photos/0.png").read_bytes()).decode()}
    (project / "row.json").write_text(json.dumps(row))
    rows = [[f"photos/{number}.png", "0"] for number in range(5)]
    _write_table(project / "labels.csv", ["id", "label"], rows)


def _write_mails(project: Path) -> None:
    words = {"order": "parcel arrive late", "bill": "charged twice invoice", "login": "password"}
    rows = [
        [f"{text} {number} and {text}", kind]
        for number in range(60)
        for kind, text in words.items()
    ]
    for name in ("data/mails.csv", "mails.csv"):
        _write_table(project / name, ["body", "kind"], rows)


def _write_events(project: Path) -> None:
    rows = [
        [f"u{user:04}", f"i{(user + step * step) % 30:03}", str(1_700_000_000 + user * 100 + step)]
        for user in range(80)
        for step in range(8)
    ]
    _write_table(project / "data/events.csv", ["customer", "product", "time"], rows)


def _write_visits(project: Path) -> None:
    names = ["patient", "age", "pressure", "smoker", "outcome"]
    rows = []
    for number in range(240):
        age, pressure = 30 + number * 7 % 50, 100 + number * 13 % 60
        outcome = "yes" if (age + pressure + number * 29 % 40) > 205 else "no"
        smoker = ("no", "yes")[number * 11 % 3 == 0]
        rows.append([f"p{number:04}", str(age), str(pressure), smoker, outcome])
    for name in ("data/visits.csv", "other_hospital.csv"):
        _write_table(project / name, names, rows)
    _write_table(project / "patients.csv", names[:-1], [row[:-1] for row in rows[:5]])


def _write_texts(project: Path) -> None:
    (project / "data/handbook").mkdir(parents=True)
    for number in range(12):
        lines = [f"Chapter {number}: rule {n} of {number * n}.\n" for n in range(40)]
        (project / f"data/handbook/{number}.md").write_text("".join(lines))
    questions = [f"What is {n % 10} plus {n // 10}?" for n in range(60)]
    answers = [f"It is {n % 10 + n // 10}." for n in range(60)]
    pairs = list(zip(questions, answers, strict=True))
    chats = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in pairs
    ]
    preferences = [{"prompt": q, "chosen": a, "rejected": "I do not know."} for q, a in pairs]
    prompts = [{"messages": [{"role": "user", "content": q}]} for q in questions[:3]]
    tables = {"data/chats": chats, "data/preferences": preferences, "prompts": prompts}
    for name, rows in tables.items():
        (project / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))


def _write_table(path: Path, names: list[str], rows: list[list[str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *rows])


# A reader who opens the schema that `inspect` proposes, and signs it.
EDITOR = f"""\
#!{sys.executable} -S
import pathlib, re, sys
file = pathlib.Path(sys.argv[1])
file.write_text(re.sub("(?m)^reviewed_by:.*$", "reviewed_by: A Reader", file.read_text()))
"""


# === Tests ===


@pytest.mark.slow
@pytest.mark.minutes(3)
@pytest.mark.parametrize(
    ("template", "group"),
    [pytest.param(*each, marks=pytest.mark.long) if each in LONG else each for each in PROJECTS],
)
def test_commands_of_documents(
    template: str, group: str, tmp_path: Path, socket: Path, record_property: Callable
) -> None:
    typed = TypedProject(render(template, tmp_path), socket)
    write_data(template, typed.project)
    commands = [
        command
        for command in choose_commands(template, find_commands)
        if group_of(command.document) == group
    ]
    documents = GROUPS.get(group, (group,))
    commands.sort(key=lambda command: documents.index(command.document))
    problems = type_all(typed, template, commands)
    typed.stop_server()
    record_property("seconds", typed.seconds)
    print(*sorted(typed.seconds, reverse=True)[:12], sep="\n")
    assert not problems, "\n\n".join(problems)


def type_all(typed: TypedProject, template: str, commands: list[Command]) -> list[str]:
    """Type commands in order, and return what went wrong."""
    editor = typed.project.parent / "editor"
    editor.write_text(EDITOR)
    editor.chmod(0o755)
    assert commands
    variables = {"EDITOR": str(editor)}
    if "onboarding" in commands[0].document:
        variables["APP__TRACKING__ENABLED"] = "true"
    if "scaling" in commands[0].document:  # JAX compiles for long enough
        variables["APP__DATA__LIMIT"] = "200"
    problems, section = [], (commands[0].document, commands[0].section)
    for command in commands:
        here = (command.document, command.section)
        if here != section and (problem := typed.stop_server()):
            problems.append(f"{section}: the server: {problem}")
        section = here
        if problem := type_one(typed, template, command, variables):
            problems.append(problem)
    if problem := typed.stop_server():
        problems.append(f"{section}: the server: {problem}")
    return problems


def type_one(
    typed: TypedProject, template: str, command: Command, variables: Mapping[str, str]
) -> str | None:
    """Run or check a command as the table says, and return what went wrong."""
    found = find_entry(command)
    entry = found[1] if found else Entry("as it stands")
    if entry.is_checked or (entry.is_once and template != TEMPLATES[0]):
        problem = document_checks.check(command.words, typed)
        return f"{command}: {problem}" if problem else None
    if entry.service and not typed.has_server:
        for needed in ("train --config configs/smoke.yaml", entry.service):
            start = Command(command.document, command.line, needed, "bash")
            if problem := typed.type(start, **variables):
                return problem
    text = entry.text_for(template, command)
    variables = {**variables, **entry.variables}
    for code, message in entry.message.items():
        done = typed.run(text, **variables)
        if done.returncode != code or message not in done.stdout:
            return f"{command}: exit {done.returncode} instead of {code}: {done.stdout[-2000:]}"
        return None
    return typed.type(command, text, **variables)


@pytest.mark.slow
@pytest.mark.parametrize("template", TEMPLATES)
def test_commands_in_sentences(template: str, tmp_path: Path, socket: Path) -> None:
    """Code spans are not run: programs, options, files and values are checked."""
    typed = TypedProject(render(template, tmp_path), socket)
    problems = [
        f"{span}: {problem}"
        for span in choose_commands(template, find_code_spans)
        if (problem := check_span(span, typed))
    ]
    assert not problems, "\n".join(problems)


def check_span(span: Command, typed: TypedProject) -> str | None:
    """Return what is wrong with a command in a sentence, which may be incomplete."""
    words = span.text.partition(" …")[0]
    # `docs/extending.md` writes what it names; test_projects.py follows its steps.
    is_example = span.document == "docs/extending.md" and re.search(r"\.(name|loss) \w+$", words)
    if is_example or words.startswith(("aistart ", "curl ")):
        return None
    return document_checks.check(Command(span.document, 0, words, "span").words, typed)


@pytest.mark.slow
def test_commands_of_the_repository_in_a_project(tmp_path: Path, socket: Path) -> None:
    """README.md of this repository shows commands of a project ``my-app`` or ``my-classifier``."""
    typed = TypedProject(render("vision-classifier", tmp_path), socket)
    (typed.project / "configs/my_data.yaml").touch()  # as `inspect` would write it
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    text = re.sub("my-(?:app|classifier)", PROGRAM, text).replace("my_app", PROGRAM)
    commands = [
        replace(command, text=command.text.removeprefix(f"cd {PROGRAM} && "))
        for command in (*find_commands("README.md", text), *find_code_spans("README.md", text))
    ]
    of_project = [
        command
        for command in commands
        if command.words[0].removeprefix(".venv/bin/") in document_checks.CHECKS
        and "/path/to" not in command.text  # of aistart itself
    ]
    assert len(of_project) > 20
    problems = [
        f"{command}: {problem}"
        for command in of_project
        if (problem := document_checks.check(command.words, typed))
    ]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("template", TEMPLATES)
def test_commands_stand_in_fences_for_commands(template: str) -> None:
    problems = [
        problem
        for document, text in read_documents(template).items()
        for problem in find_unmarked(document, text, PROGRAMS)
    ]
    assert not problems, "\n".join(problems)


def test_all_documents_are_typed() -> None:
    found = {
        (template, group_of(command.document))
        for template in TEMPLATES
        for command in choose_commands(template, find_commands)
    }
    assert found == set(PROJECTS)


def test_each_entry_of_the_table_is_needed() -> None:
    used = {
        found[0]
        for template in TEMPLATES
        for command in find_all(template, find_commands)
        if (found := find_entry(command))
    }
    assert set(TABLE) == used


@pytest.mark.slow
def test_a_wrong_command_is_named_with_its_line(tmp_path: Path, socket: Path) -> None:
    """Row 38 of the fault battery."""
    typed = TypedProject(render("vision-classifier", tmp_path), socket)
    shown = "$ demo --help\nusage: demo COMMAND …\n…\n"
    wrong = f"# Title\n\n```console\n{shown}$ demo export --fast\n```\n"
    (problem,) = type_all(typed, "vision-classifier", find_commands("README.md", wrong))
    assert problem.startswith("README.md:7: $ demo export --fast: exit 2: error: ")
    output = "```console\n$ demo runs list\nno runs\n```\n"
    (problem,) = type_all(typed, "vision-classifier", find_commands("docs/a.md", output))
    assert problem.startswith("docs/a.md:2: $ demo runs list: no output like 'no runs'")
    build = "```bash\ndocker build --target tpu -t demo:tpu .\n```\n"
    (problem,) = type_all(typed, "vision-classifier", find_commands("docs/a.md", build))
    assert problem.startswith("docs/a.md:2: $ docker build --target tpu -t demo:tpu .: ValueError")
    (span,) = find_code_spans("a.md", "Text, and\nthen `train --train.epoch 5`.")
    assert "train.epoch" in check_span(span, typed)
    assert span.line == 2
    assert not is_server("demo serve keys add NAME")
    assert is_server(f".venv/bin/{PROGRAM} serve")
