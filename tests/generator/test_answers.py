"""Answers from a file, and the profile: who wins, and what is refused."""

import tomllib
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from click.testing import Result

from aistart.errors import format_value
from tests.generator.foreign import PROJECT, write, write_team_template
from tests.generator.terminal import run_on_terminal
from tests.generator.test_new import assert_refused

Call = Callable[..., Result]


def read_answers(project: str) -> dict[str, str]:
    return tomllib.loads((Path(project) / ".aistart/answers.toml").read_text())["answers"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", 'author = "Ada"\nlicense = "MIT"\n'),
        ("a.yaml", "author: Ada\nlicense: MIT\n"),
        ("a.yml", '{"author": "Ada", "license": "MIT"}'),
    ],
)
def test_answers_file(aistart: Call, isolated: Path, name: str, text: str) -> None:
    Path(name).write_text(text)
    words = ["--answers", name, "--set", "license=BSD-3-Clause"]
    assert aistart("new", "recommender", "demo", "-y", *words).exit_code == 0
    found = read_answers("demo")
    assert (found["author"], found["license"]) == ("Ada", "BSD-3-Clause")


def test_answers_of_an_existing_project(aistart: Call, isolated: Path) -> None:
    texts = ["--set", "author=Ada", "--set", "project_slug=first", "--set", "description={{ x }}"]
    assert aistart("new", "recommender", "one", "-y", *texts).exit_code == 0
    for place in ("first", "first/.aistart/answers.toml"):
        name = f"two-{len(place)}"
        result = aistart("new", "recommender", name, "-y", "--answers", place)
        assert result.exit_code == 0, result.output
        found = read_answers(name)
        assert (found["author"], found["package_name"]) == ("Ada", name.replace("-", "_"))
        assert found["description"] == "{{ x }}"
    Path("first").rename("gone")
    assert aistart("new", "recommender", "-y", "--answers", "gone").exit_code == 0
    assert read_answers("first") == read_answers("gone"), "without a name it is the same project"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "licence = 'MIT'", "question: 'licence' is unknown. Did you mean 'license'?"),
        ("a.toml", "python_version = 3.12", "python_version: 3.12 must be a text, in quotes"),
        ("a.yaml", "author: [a]", "author: ['a'] must be a text, in quotes"),
        ("a.yaml", "- a", "must hold a table of answers"),
        ("a.toml", "author", "a.toml' does not parse: "),
        ("a.yaml", "a: [", "a.yaml' does not parse: "),
        ("a.json", "{}", "must end with .toml, .yaml or .yml"),
        ("a.toml", "template = 'recommender'\n[answers]", "for 'recommender', and the template"),
        ("a.toml", "features = 'ci'\n[answers]", "features must be a list of names"),
        ("a.toml", "features = ['x']\n[answers]", "feature: 'x' is unknown."),
        ("a.toml", "answers = 1", "answers must be a table"),
        ("a.yaml", "!!python/object/apply:os.system ['touch ran']", "does not parse"),
    ],
)
def test_answers_file_that_is_refused(
    aistart: Call, isolated: Path, name: str, text: str, message: str
) -> None:
    file = isolated.parent / name
    file.write_text(text)
    words = ["new", "vision-classifier", "demo", "-y", "--answers", f"../{name}"]
    assert_refused(aistart(*words), message, isolated)
    file.unlink()


def test_answers_file_that_is_missing(aistart: Call, isolated: Path) -> None:
    words = ["new", "vision-classifier", "demo", "-y", "--answers"]
    assert_refused(aistart(*words, "no.toml"), "'no.toml': No such file", isolated)


def test_profile(aistart: Call, isolated: Path) -> None:
    place = Path(aistart("profile", "path").output.strip())
    assert place.is_relative_to(Path.home())
    assert aistart("profile", "show").output == f"{place} (does not exist yet)\n"
    assert aistart("profile", "set", "author", "Ada").exit_code == 0
    assert aistart("profile", "set", "license", "MIT").exit_code == 0
    place.write_text(f"# ours\n{place.read_text()}")
    aistart("profile", "set", "license", "BSD-3-Clause")
    assert place.read_text() == '# ours\nauthor = "Ada"\nlicense = "BSD-3-Clause"\n'
    assert aistart("profile", "show").output == (
        f"{place}\n  author = Ada\n  license = BSD-3-Clause\n"
    )
    result = aistart("new", "recommender", "demo", "-y", "--set", "license=MIT")
    assert f"From the profile {place}: author." in result.output
    assert " --set author=Ada --set license=MIT" in result.output
    found = read_answers("demo")
    assert (found["author"], found["license"]) == ("Ada", "MIT")
    assert aistart("profile", "unset", "author").exit_code == 0
    assert "author" not in place.read_text()


def test_profile_of_a_team(aistart: Call, isolated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aistart("profile", "set", "author", "Ada")
    Path("team.toml").write_text('author = "The Team"\n')
    Path("other.toml").write_text('author = "Others"\n')
    monkeypatch.setenv("AISTART_PROFILE", "team.toml")
    aistart("new", "recommender", "one", "-y")
    aistart("new", "recommender", "two", "-y", "--profile", "other.toml")
    assert read_answers("one")["author"] == "The Team"
    assert read_answers("two")["author"] == "Others"
    assert aistart("profile", "path").output == "team.toml\n"
    assert aistart("profile", "--profile", "other.toml", "path").output == "other.toml\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["set", "licence", "MIT"], "profile: 'licence' is unknown. Did you mean 'license'?"),
        (["set", "license", "GPL"], "profile: license: 'GPL' is not one of: Proprietary, MIT"),
        (["set", "project_name", "x"], "profile: 'project_name' is unknown."),
        (["unset", "author"], "profile: author is not in "),
    ],
)
def test_profile_refuses(aistart: Call, isolated: Path, words: list[str], message: str) -> None:
    assert_refused(aistart("profile", *words), message, isolated)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("licence = 'MIT'", "profile: 'licence' is unknown. Did you mean 'license'?"),
        ("license = 1", "license: 1 must be a text, in quotes"),
        ("license = 'GPL'", "profile.toml: license: 'GPL' is not one of: Proprietary, MIT, BSD-3-"),
        ("license", "does not parse"),
        ("features = 1", "features must be a table"),
        ("[features]\nci = 1", "features.ci: 1 must be true or false"),
    ],
)
def test_profile_that_is_broken(aistart: Call, isolated: Path, text: str, message: str) -> None:
    file = isolated.parent / "profile.toml"
    file.write_text(text)
    words = ["new", "vision-classifier", "demo", "-y", "--profile", "../profile.toml"]
    assert_refused(aistart(*words), message, isolated)
    file.unlink()


def test_profile_that_was_named_and_is_missing(aistart: Call, isolated: Path) -> None:
    result = aistart("new", "vision-classifier", "demo", "-y", "--profile", "no.toml")
    assert_refused(result, "profile: 'no.toml' is not a file.", isolated)


@pytest.mark.parametrize(
    "text", ["author = [[[\n", "author = " + "[" * 5000, "features = 5\n", "author = 5\n", "\xff"]
)
def test_profiles_that_are_none(aistart: Call, isolated: Path, text: str) -> None:
    file = isolated / "team.toml"
    file.write_bytes(text.encode("latin-1"))
    for words in (["show"], ["set", "license", "MIT"], ["set", "features.docker", "on"]):
        result = aistart("profile", "--profile", str(file), *words)
        assert result.exit_code == 2
        assert result.output.startswith("Error: profile: ")
        assert result.output.count("\n") == 1
    assert file.read_bytes() == text.encode("latin-1")


def test_a_profile_that_is_a_link_stays_one(aistart: Call, isolated: Path) -> None:
    (isolated / "team.toml").write_text('author = "Ada"\n')
    link = isolated / "link.toml"
    link.symlink_to("team.toml")
    assert aistart("profile", "--profile", str(link), "set", "author", "Eve").exit_code == 0
    assert link.is_symlink()
    assert (isolated / "team.toml").read_text() == 'author = "Eve"\n'


def test_features_that_no_template_has_any_more_can_be_taken_out(
    aistart: Call, isolated: Path
) -> None:
    (isolated / "team.toml").write_text("[features]\ndockr = false\n")
    words = ["profile", "--profile", "team.toml"]
    assert aistart(*words, "unset", "features.dockr").exit_code == 0
    assert "dockr" not in (isolated / "team.toml").read_text()


def test_names_of_answers_that_are_no_texts(aistart: Call, isolated: Path) -> None:
    for text in ("1: x\n", "yes: x\n"):
        (isolated / "a.yaml").write_text(text)
        result = aistart("new", "vision-classifier", "demo", "-y", "--answers", "a.yaml")
        assert result.exit_code == 2
        assert "must be a text, in quotes.\n" in result.output


def test_rights_are_the_organisations_else_the_authors(aistart: Call, isolated: Path) -> None:
    for name, answers, holder, authors in (
        ("a", {}, "the a authors", None),
        ("b", {"author": "Ada"}, "Ada", ["Ada"]),
        ("c", {"organisation": "Engines & Co"}, "Engines & Co", ["Engines & Co"]),
        ("d", {"author": "Ada", "organisation": "Co"}, "Co", ["Ada", "Co"]),
    ):
        for key, value in answers.items():
            assert aistart("profile", "set", key, value).exit_code == 0
        for license in ("Proprietary", "MIT", "BSD-3-Clause"):
            words = ["--no-git", "--set", f"license={license}", "-o", license]
            Path(license).mkdir(exist_ok=True)
            assert aistart("new", "recommender", name, "-y", *words).exit_code == 0
            project = Path(license) / name
            assert f"{date.today().year} {holder}" in (project / "LICENSE").read_text()
            declared = tomllib.loads((project / "pyproject.toml").read_text())["project"]
            listed = declared.get("authors")
            assert (listed and [author["name"] for author in listed]) == authors
        for key in answers:
            aistart("profile", "unset", key)


def test_what_came_from_the_profile_is_named(aistart: Call, isolated: Path) -> None:
    text = (
        'author = "Ada"\nlicense = "MIT"\n[features]\nci = false\nkubernetes = true\nown = true\n'
    )
    Path("team.toml").write_text(text)
    words = ["--profile", "team.toml", "--set", "license=BSD-3-Clause", "--without", "kubernetes"]
    result = aistart("new", "recommender", "demo", "-y", *words)
    assert "From the profile team.toml: author, features.ci.\n" in result.output
    assert not (Path("demo") / ".github").exists()
    shown = aistart("profile", "--profile", "team.toml", "show").output.splitlines()
    assert shown[3:] == [
        "  features.ci = off",
        "  features.kubernetes = on",
        "  features.own = on  (only for your own templates: no built-in template has it)",
    ]


def test_profile_and_templates_that_ask_otherwise(aistart: Call, isolated: Path) -> None:
    write_team_template(isolated / "team", license=["GPL", "None"], author="Them")
    Path("team.toml").write_text('author = "Ada"\nlicense = "MIT"\n[features]\nchart = true\n')
    write(isolated / "team" / PROJECT / "by.txt", "{{ cookiecutter.author }}")
    write(isolated / "team" / PROJECT / "license.txt", "{{ cookiecutter.license }}")
    words = ["new", "./team", "demo", "--trust", "--profile", "team.toml"]
    result = aistart(*words, "-y")
    assert result.exit_code == 0, result.output
    assert "From the profile team.toml: author, features.chart.\n" in result.output
    texts = [(isolated / "demo" / name).read_text() for name in ("by.txt", "license.txt")]
    assert texts == ["Ada", "GPL"]
    words[2] = "asked"
    shown = run_on_terminal(["\r"] * 5, *words)
    assert "author (from the profile): Ada" in shown
    assert "license: (Shift-Tab: back)" in shown


def test_a_wrong_value_in_a_profile_can_be_put_right(aistart: Call, isolated: Path) -> None:
    Path("team.toml").write_text('license = "GPL"\n')
    words = ["profile", "--profile", "team.toml"]
    assert aistart(*words, "show").exit_code == 2
    assert aistart(*words, "set", "license", "MIT").exit_code == 0
    assert aistart(*words, "show").output == "team.toml\n  license = MIT\n"


def test_aliases_that_hold_each_other(aistart: Call, isolated: Path) -> None:
    lists = ["a0: &a0 [xxxxxxxxxx, xxxxxxxxxx]"]
    lists += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    tables = ["b0: &b0 {x: y}"] + [f"b{n}: &b{n} {{<<: [*b{n - 1}, *b{n - 1}]}}" for n in (1, 2)]
    for lines in (lists, tables):
        (isolated / "a.yaml").write_text("\n".join(lines))
        result = aistart("new", "recommender", "demo", "-y", "--answers", "a.yaml")
        assert result.exit_code == 2
        assert result.output.endswith("an alias (*) may stand for a text only.\n")
    (isolated / "a.yaml").write_text("author: &me Ada\norganisation: *me\n")
    result = aistart("new", "recommender", "demo", "-y", "--answers", "a.yaml")
    assert result.exit_code == 0, result.output


def test_values_that_hold_each_other_are_short_in_messages() -> None:
    value: object = ["x" * 10] * 9
    for _ in range(12):
        value = [value] * 9
    assert len(format_value(value)) <= 120
