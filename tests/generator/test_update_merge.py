"""The merge of a template's changes into a project: trees in memory, no command line."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from aistart.errors import AistartError
from aistart.update import scratch
from aistart.update.merge import merge
from aistart.update.record import Record
from aistart.update.trees import Entry, MergeResult, Tree

Files = Mapping[str, str | bytes | Entry]
GROUPS = ("updated", "merged", "new", "removed", "kept", "moves")


def make_tree(files: Files) -> Tree:
    def make_entry(file: str | bytes | Entry) -> Entry:
        if isinstance(file, Entry):
            return file
        return Entry("100644", file if isinstance(file, bytes) else file.encode())

    return {path: make_entry(file) for path, file in files.items()}


def run(base: Files, ours: Files, theirs: Files, **moves: str) -> MergeResult:
    record = Record("team", "0.2.0", (), {}, 2026).with_tree(make_tree(base))
    return merge(record, make_tree(ours), make_tree(theirs), moves)


def expect(
    result: MergeResult, files: Files, *conflicts: tuple[str, str], **groups: object
) -> None:
    """Check everything that a merge returns; groups that are not named are empty."""
    assert result.tree == make_tree(files)
    assert [(conflict.path, conflict.kind) for conflict in result.conflicts] == list(conflicts)
    found = {name: getattr(result, name) for name in GROUPS if getattr(result, name)}
    assert found == groups


def link(target: str) -> Entry:
    return Entry("120000", target.encode())


def executable(text: str) -> Entry:
    return Entry("100755", text.encode())


def lines(*words: object) -> str:
    return "".join(f"{word}\n" for word in words)


TEN = range(10)
TEXT = lines(*TEN)
OURS, THEIRS = lines(*TEN, "mine"), lines("new", *TEN)
BOTH = lines("new", *TEN, "mine")


def test_unedited_file() -> None:
    files = {"a": TEXT, "b": TEXT}
    expect(run(files, files, {"a": THEIRS, "b": TEXT}), {"a": THEIRS, "b": TEXT}, updated=["a"])


def test_edited_file_that_the_template_leaves() -> None:
    expect(run({"a": TEXT}, {"a": OURS}, {"a": TEXT}), {"a": OURS}, kept=["a"])


def test_edits_of_both() -> None:
    expect(run({"a": TEXT}, {"a": OURS}, {"a": THEIRS}), {"a": BOTH}, merged=["a"])


def test_same_lines_changed_by_both() -> None:
    result = run({"a": TEXT}, {"a": lines("x", *TEN)}, {"a": lines("y", *TEN)})
    marked = lines("<<<<<<< yours", "x", "=======", "y", ">>>>>>> template", *TEN)
    expect(result, {"a": marked}, ("a", "content"))
    assert result.conflicts[0].theirs == make_tree({"a": lines("y", *TEN)})["a"]
    assert result.conflicts[0].message == (
        "both changed the same lines: search for '<<<<<<< yours'"
    )


def test_same_change_by_both() -> None:
    expect(run({"a": TEXT}, {"a": BOTH}, {"a": BOTH}), {"a": BOTH}, kept=["a"])
    ours, theirs = lines(*TEN[2:], "x"), lines("y", *TEN[2:], "x")
    expect(run({"a": TEXT}, {"a": ours}, {"a": ours}), {"a": ours}, kept=["a"])
    marked = lines("<<<<<<< yours", "=======", "y", ">>>>>>> template", *TEN[2:], "x")
    expect(run({"a": TEXT}, {"a": ours}, {"a": theirs}), {"a": marked}, ("a", "content"))


def test_files_without_a_final_line_feed() -> None:
    result = run({"a": TEXT[:-1]}, {"a": TEXT}, {"a": THEIRS[:-1]})
    expect(result, {"a": THEIRS}, merged=["a"])
    result = run({"a": TEXT[:-1]}, {"a": TEXT[:-1] + "x"}, {"a": TEXT[:-1] + "y"})
    marked = lines(*TEN[:-1], "<<<<<<< yours", "9x", "=======", "9y", ">>>>>>> template")
    expect(result, {"a": marked}, ("a", "content"))


def test_empty_files() -> None:
    expect(run({"a": ""}, {"a": "mine\n"}, {"a": ""}), {"a": "mine\n"}, kept=["a"])
    expect(run({"a": ""}, {"a": ""}, {"a": "new\n"}), {"a": "new\n"}, updated=["a"])
    expect(run({"a": TEXT}, {"a": ""}, {"a": TEXT}), {"a": ""}, kept=["a"])
    expect(run({"a": TEXT, "b": ""}, {"b": ""}, {"a": TEXT, "b": ""}), {"b": ""})


def test_bytes_that_are_no_text_of_ours() -> None:
    latin = "Größe\n".encode("latin-1")
    base, ours, theirs = (text.encode() + latin for text in (TEXT, OURS, THEIRS))
    result = run({"a": base}, {"a": ours + b"\r\r\n"}, {"a": theirs})
    expect(result, {"a": b"new\n" + ours + b"\r\r\n"}, merged=["a"])


def test_placeholders_are_not_seen() -> None:
    """The text of what both changed is not in the record: it must not come out either."""
    base = lines(*(f"old {number}" for number in range(50)))
    result = run({"a": base}, {"a": "x\n"}, {"a": "y\n"})
    assert result.tree["a"].content == b"<<<<<<< yours\nx\n=======\ny\n>>>>>>> template\n"


def test_crlf() -> None:
    windows = OURS.replace("\n", "\r\n")
    expect(run({"a": TEXT}, {"a": windows}, {"a": TEXT}), {"a": windows}, kept=["a"])
    expect(
        run({"a": TEXT}, {"a": windows}, {"a": THEIRS}),
        {"a": BOTH.replace("\n", "\r\n")},
        merged=["a"],
    )
    checkout = {"a": TEXT.replace("\n", "\r\n")}  # as git writes it on Windows: no edit
    expect(run({"a": TEXT}, checkout, {"a": TEXT}), checkout)
    new = {"a": THEIRS.replace("\n", "\r\n")}
    expect(run({"a": TEXT}, checkout, {"a": THEIRS}), new, updated=["a"])
    expect(run({"a": TEXT}, checkout, {}), {}, removed=["a"])
    batch = TEXT.replace("\n", "\r\n")  # the template's own is so
    expect(
        run({"a": batch}, {"a": windows}, {"a": THEIRS.replace("\n", "\r\n")}),
        {"a": BOTH.replace("\n", "\r\n")},
        merged=["a"],
    )
    expect(run({"a": batch}, {"a": windows}, {"a": TEXT}), {"a": OURS}, merged=["a"])
    mixed = TEXT.replace("3\n", "3\r\n")
    expect(run({"a": TEXT}, {"a": mixed}, {"a": TEXT}), {"a": mixed}, kept=["a"])


def test_deleted_files() -> None:
    expect(run({"a": TEXT}, {}, {"a": TEXT}), {})
    expect(run({"a": TEXT}, {}, {"a": THEIRS}), {}, kept=["a"])
    expect(run({"a": TEXT}, {"a": TEXT}, {}), {}, removed=["a"])
    expect(run({"a": TEXT}, {}, {}), {})
    result = run({"a": TEXT}, {"a": OURS}, {})
    expect(result, {"a": OURS}, ("a", "removed by the template"))
    assert result.conflicts[0].message == (
        "you changed it and the template no longer has it: yours stays"
    )


def test_file_of_the_users_where_the_template_brings_one() -> None:
    result = run({}, {"a": lines("mine", 1)}, {"a": lines("new", 1)})
    marked = lines("<<<<<<< yours", "mine", "=======", "new", ">>>>>>> template", 1)
    expect(result, {"a": marked}, ("a", "content"))
    message = "the template now has this file, too: search for '<<<<<<< yours'"
    assert result.conflicts[0].message == message
    expect(run({}, {"a": TEXT}, {"a": TEXT}), {"a": TEXT})
    result = run({}, {"a": b"\0mine"}, {"a": b"\0new"})
    expect(result, {"a": b"\0mine"}, ("a", "binary"))
    assert result.conflicts[0].theirs == Entry("100644", b"\0new")
    expect(run({}, {"a": TEXT}, {"a": executable(TEXT)}), {"a": TEXT})
    expect(
        run({}, {"own": TEXT}, {"new": TEXT + "1\n"}),
        {"own": TEXT, "new": TEXT + "1\n"},
        new=["new"],
    )


def test_binary_files() -> None:
    expect(run({"a": b"\0a"}, {"a": b"\0a"}, {"a": b"\0c"}), {"a": b"\0c"}, updated=["a"])
    expect(run({"a": b"\0a"}, {"a": b"\0b"}, {"a": b"\0a"}), {"a": b"\0b"}, kept=["a"])
    result = run({"a": b"\0a"}, {"a": b"\0b"}, {"a": b"\0c"})
    expect(result, {"a": b"\0b"}, ("a", "binary"))
    assert result.conflicts[0].theirs == Entry("100644", b"\0c")
    assert result.conflicts[0].message == "both changed this binary file: yours stays"
    result = run({"a": TEXT}, {"a": b"\0b"}, {"a": THEIRS})
    expect(result, {"a": b"\0b"}, ("a", "binary"))


def test_locks_are_never_merged_by_lines() -> None:
    base, name = {"a.lock": TEXT}, "a.lock"
    expect(run(base, base, {name: THEIRS}), {name: THEIRS}, updated=[name])
    expect(run(base, {name: OURS}, base), {name: OURS}, kept=[name])
    expect(run(base, {name: OURS}, {name: THEIRS}), {name: OURS}, (name, "lock"))
    expect(run(base, {}, {name: THEIRS}), {}, kept=[name])
    expect(run(base, {name: OURS}, {}), {name: OURS}, (name, "removed by the template"))
    expect(run(base, base, {}), {}, removed=[name])
    windows = {name: TEXT.replace("\n", "\r\n")}
    expect(run(base, windows, {name: THEIRS}), {name: THEIRS}, updated=[name])
    expect(run({}, {}, base), base, new=[name])
    expect(run({}, {"own.lock": TEXT}, {}), {"own.lock": TEXT})


def test_links() -> None:
    base = {"a": link("x")}
    expect(run(base, base, {"a": link("z")}), {"a": link("z")}, updated=["a"])
    expect(run(base, {"a": link("./y")}, base), {"a": link("./y")}, kept=["a"])
    expect(run(base, {"a": link("y")}, {"a": link("z")}), {"a": link("y")}, ("a", "link"))
    result = run({"a": TEXT}, {"a": link("y")}, {"a": THEIRS})
    expect(result, {"a": link("y")}, ("a", "link"))
    assert result.conflicts[0].theirs == make_tree({"a": THEIRS})["a"]
    result = run({"a": TEXT}, {"a": OURS}, {"a": link("z")})
    expect(result, {"a": OURS}, ("a", "link"))


def test_executable_bit() -> None:
    result = run({"a": TEXT}, {"a": executable(TEXT)}, {"a": THEIRS})
    expect(result, {"a": executable(THEIRS)}, merged=["a"])
    result = run({"a": TEXT}, {"a": OURS}, {"a": executable(TEXT)})
    expect(result, {"a": executable(OURS)}, merged=["a"])
    expect(
        run({"a": TEXT}, {"a": executable(TEXT)}, {"a": TEXT}), {"a": executable(TEXT)}, kept=["a"]
    )


def test_folders_and_files_in_each_others_place() -> None:
    # The user made a folder of a file.
    expect(run({"a": TEXT}, {"a/own": "x"}, {"a": TEXT}), {"a/own": "x"})
    result = run({"a": TEXT}, {"a/own": "x"}, {"a": THEIRS})
    expect(result, {"a/own": "x"}, ("a", "in the way"))
    assert result.conflicts[0].message == "the template's file has no place: 'a' is in the way"
    assert result.conflicts[0].theirs == make_tree({"a": THEIRS})["a"]
    # The user made a file, or a link, of a folder.
    for own in ("x", link("elsewhere")):
        expect(run({"a/b": TEXT}, {"a": own}, {"a/b": TEXT}), {"a": own})
        result = run({"a/b": TEXT}, {"a": own}, {"a/b": THEIRS, "a/c": "new"})
        expect(result, {"a": own}, ("a/b", "in the way"), ("a/c", "in the way"))
    # The template did.
    expect(
        run({"a": TEXT}, {"a": TEXT}, {"a/b": "new"}), {"a/b": "new"}, new=["a/b"], removed=["a"]
    )
    expect(run({"a/b": "x"}, {"a/b": "x"}, {"a": TEXT}), {"a": TEXT}, new=["a"], removed=["a/b"])
    result = run({"a": TEXT}, {"a": OURS}, {"a/b": "new"})
    expect(result, {"a": OURS}, ("a", "removed by the template"), ("a/b", "in the way"))
    result = run({"a/b": "x"}, {"a/b": "x", "a/own": "mine"}, {"a": TEXT})
    expect(result, {"a/own": "mine"}, ("a", "in the way"), removed=["a/b"])


def test_submodules_and_folders_that_are_not_read() -> None:
    for mode in ("160000", "040000"):
        own = Entry(mode, b"")
        expect(run({"a/b": TEXT}, {"a": own}, {"a/b": TEXT}), {"a": own})
        result = run({"a/b": TEXT}, {"a": own}, {"a/b": THEIRS})
        expect(result, {"a": own}, ("a/b", "in the way"))
        expect(run({}, {"a": own}, {"a": "new"}), {"a": own}, ("a", "in the way"))


def test_file_that_the_user_renamed() -> None:
    expect(run({"a": TEXT}, {"b": OURS}, {"a": THEIRS}), {"b": BOTH}, merged=["b"])
    expect(run({"a": TEXT}, {"b": TEXT}, {"a": THEIRS}), {"b": THEIRS}, merged=["b"])
    expect(run({"a": TEXT}, {"b": OURS}, {"a": TEXT}), {"b": OURS})
    result = run({"a": TEXT}, {"b": OURS}, {})
    expect(result, {"b": OURS}, ("b", "removed by the template"))


def test_file_that_the_template_renamed() -> None:
    expect(
        run({"a": TEXT}, {"a": OURS}, {"b": THEIRS}), {"b": BOTH}, merged=["b"], moves={"a": "b"}
    )
    expect(
        run({"a": TEXT}, {"a": TEXT}, {"b": THEIRS}), {"b": THEIRS}, updated=["b"], moves={"a": "b"}
    )
    expect(run({"a": TEXT}, {}, {"b": THEIRS}), {}, kept=["b"])
    windows = OURS.replace("\n", "\r\n")
    expect(
        run({"a": TEXT}, {"a": windows}, {"b": THEIRS}),
        {"b": BOTH.replace("\n", "\r\n")},
        merged=["b"],
        moves={"a": "b"},
    )


def test_file_that_both_renamed() -> None:
    expect(run({"a": TEXT}, {"b": OURS}, {"b": THEIRS}), {"b": BOTH}, merged=["b"])
    result = run({"a": TEXT}, {"b": OURS}, {"c": THEIRS})
    expect(result, {"b": BOTH}, ("b", "renamed by the template"))
    assert result.conflicts[0].message == (
        "the template renamed it to 'c': yours stays, with its changes"
    )
    assert result.conflicts[0].theirs == make_tree({"c": THEIRS})["c"]


def test_folder_that_the_template_renamed() -> None:
    base = {"m/a": TEXT, "m/b": lines(*range(20, 30))}
    renamed = {path.replace("m/", "n/"): text for path, text in base.items()}
    result = run(base, {**base, "m/own": "mine"}, renamed)
    moves = {path: path.replace("m/", "n/") for path in ("m/a", "m/b", "m/own")}
    expect(result, {**renamed, "n/own": "mine"}, updated=["n/a", "n/b"], moves=moves)


def test_empty_files_are_not_renamed() -> None:
    base, theirs = {"m/__init__.py": "", "m/a": TEXT}, {"n/__init__.py": "", "n/b": "new\n"}
    new, removed = ["n/__init__.py", "n/b"], ["m/__init__.py", "m/a"]
    expect(run(base, base, theirs), theirs, new=new, removed=removed)


def test_folder_that_the_user_renamed() -> None:
    base = {"m/a": TEXT, "m/b": lines(*range(20, 30))}
    renamed = {path.replace("m/", "n/"): text for path, text in base.items()}
    result = run(base, renamed, {**base, "m/new": "new\n"})
    expect(result, {**renamed, "n/new": "new\n"}, new=["n/new"])


def test_folder_named_after_an_answer() -> None:
    base = {"src/demo/a": TEXT, "src/demo/b": "demo\n", "demo": "x", "docs/demo/c": "c\n"}
    ours = {**base, "src/demo/a": OURS, "src/demo/own/d": "mine", "demo/e": "e"}
    del ours["demo"]
    theirs = {"src/other/a": THEIRS, "src/other/b": "other\n", "demo": "x", "docs/demo/c": "c\n"}
    result = run(base, ours, theirs, demo="other")
    expected = {
        **{"src/other/a": BOTH, "src/other/b": "other\n", "src/other/own/d": "mine"},
        **{"demo/e": "e", "docs/demo/c": "c\n"},
    }
    moves = {f"src/demo/{name}": f"src/other/{name}" for name in ("a", "b", "own/d")}
    expect(result, expected, updated=["src/other/b"], merged=["src/other/a"], moves=moves)


def test_moved_file_meets_one_of_the_users() -> None:
    base, theirs = {"demo/a": TEXT}, {"other/a": TEXT}
    ours = {"demo/a": OURS, "other/a": "mine\n"}
    result = run(base, ours, theirs, demo="other")
    assert result.tree == make_tree(ours), "neither replaces the other"


NAMES = [
    'a "quoted" name',
    "back\\slash",
    "new\nline",
    "tab\t",
    "Größe 数据 🙂",
    " ",
    "\udcff\udcfe",
    '"',
]


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str) -> None:
    path = f"folder/{name}"
    expect(run({path: TEXT}, {path: OURS}, {path: THEIRS}), {path: BOTH}, merged=[path])
    result = run({path: TEXT}, {path: "x\n"}, {path: "y\n"})
    assert [conflict.path for conflict in result.conflicts] == [path]


def test_users_git_has_no_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = "[merge]\nconflictStyle = diff3\nrenames = false\n[core]\nautocrlf = true\n"
    (Path.home() / ".gitconfig").write_text(f"{config}attributesFile = {tmp_path}/attributes\n")
    (tmp_path / "attributes").write_text("* merge=union\n")
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    attributes = {".gitattributes": "* merge=union text eol=crlf\n"}
    result = run(
        {"a": TEXT, **attributes},
        {"b": "x\n" + TEXT, **attributes},
        {"a": "y\n" + TEXT, **attributes},
    )
    marked = lines("<<<<<<< yours:b", "x", "=======", "y", ">>>>>>> template:a", *TEN)
    assert result.tree["b"].content.decode() == marked


def test_old_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\necho git version 2.34.1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    scratch.check_version.cache_clear()
    with pytest.raises(AistartError) as error:
        run({"a": "x"}, {"a": "y"}, {"a": "x"})
    assert str(error.value) == (
        "git version 2.34.1 is too old: an update needs git 2.38 or newer; install it and put it "
        "first on the PATH."
    )
    program.unlink()
    with pytest.raises(AistartError) as error:
        run({"a": "x"}, {"a": "y"}, {"a": "x"})
    assert str(error.value) == "git is not installed: an update needs git 2.38 or newer."
