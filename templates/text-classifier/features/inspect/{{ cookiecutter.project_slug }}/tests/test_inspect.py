"""``inspect`` sees what is there, and what it writes trains as it is."""

import csv
import json
from pathlib import Path

import pytest
import yaml

from {{ cookiecutter.package_name }}.__main__ import program, train
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.datasets.languages import languages
from {{ cookiecutter.package_name }}.engine.inspection.columns import predictability
from {{ cookiecutter.package_name }}.engine.runs import find_run
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing

inspect = program.script("inspect")


KINDS = ("complaint", "praise", "question")
WORDS = ("broken and late", "great and the best of all", "what is the price of it")


def mails(count: int = 90) -> list[dict[str, str]]:
    return [
        {
            "id": f"m{n}",
            "subject": f"mail {n}",
            "body": f"This is number {n} about the thing: {WORDS[n % 3]}",
            "kind": KINDS[n % 3],
            "queue": f"Q-{KINDS[n % 3]}",
        }
        for n in range(count)
    ]


def write(file: Path, rows: list[dict], delimiter: str = ",", encoding: str = "utf-8") -> Path:
    with file.open("w", newline="", encoding=encoding) as opened:
        writer = csv.DictWriter(opened, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return file


def test_findings_and_configuration(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = mails()
    rows[5]["body"], rows[7]["kind"] = "", ""
    rows[10]["body"] = rows[13]["body"].upper() + "!"
    file = write(own_folder / "mails.csv", rows, delimiter=";", encoding="utf-8-sig")
    assert inspect([str(file)]) == 0
    shown = capsys.readouterr().out
    for line in (
        "file            90 rows, csv, utf-8\n",
        "column body     the texts; 90 different values, 1 empty\n",
        "column kind     the labels; 4 different values, 1 empty\n",
        "languages       Latin 100% (mostly English)\n",
        "classes         3: complaint 30, praise 29, question 29\n",
        "duplicates      1, ignoring case, spaces and punctuation\n",
        "warning: column 'queue' tells the label nearly always; it is not used.",
        "warning: 1 texts are empty, the first in 7; they are left out.\n",
        "warning: 1 labels are missing, the first in 9; those rows are left out.\n",
        "To train on it:  train --config configs/my_data.yaml\n",
    ):
        assert line in shown
    written = yaml.safe_load(Path("configs/my_data.yaml").read_text())["data"]
    assert written == {
        "source": "csv",
        "path": str(file),
        "text_column": "body",
        "label_column": "kind",
        "encoding": "utf-8",
        "delimiter": ";",
    }
    words = ["--config", "configs/my_data.yaml", "--train.max_steps", "2", "--model.name", "bag"]
    assert train([*words, "--tracking.enabled", "false"]) == 0
    assert find_run("latest").summary["data"]["unreadable"] == 2


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_several_labels(kind: str, own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tags = ("late", "broken", "rude")
    rows = mails()
    for n, row in enumerate(rows):
        row["kind"] = [tag for bit, tag in enumerate(tags) if n % 8 & (1 << bit)]
        del row["queue"]
    file = own_folder / f"mails.{kind}"
    if kind == "csv":
        write(file, [row | {"kind": "; ".join(row["kind"])} for row in rows])
    else:
        file.write_text("\n".join(map(json.dumps, rows)))
    assert inspect([str(file)]) == 0
    shown = capsys.readouterr().out
    between = ";" if kind == "csv" else "|"
    assert f"labels          up to 3 of a text, separated by {between!r}\n" in shown
    assert "classes         3: " in shown
    assert "missing" not in shown
    config = load_config(["--config", "configs/my_data.yaml"])
    assert config.data.label_separator == between
    assert set(load(config).notes["classes"]) == set(tags)


@pytest.mark.parametrize("kind", ["folder", "jsonl", "gb18030"])
def test_other_kinds_load_as_they_are(kind: str, own_folder: Path) -> None:
    rows = mails(60)
    path = own_folder / "data"
    if kind == "folder":
        for row in rows:
            file = path / row["kind"] / f"{row['id']}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(row["body"])
    elif kind == "jsonl":
        path = path.with_suffix(".jsonl")
        path.write_text("\n".join(json.dumps(row) for row in rows))
    else:
        chinese = ["这个产品坏了很失望", "非常好推荐大家购买", "请问这个多少钱一个"]
        rows = [{"review": f"{n}号{chinese[n % 3]}", "sentiment": KINDS[n % 3]} for n in range(60)]
        path = write(path.with_suffix(".csv"), rows, encoding="gb18030")
    assert inspect([str(path), "--output", "mine.yaml"]) == 0
    config = load_config(["--config", "mine.yaml"])
    data = load(config)
    assert sum(data.sizes().values()) == 60
    tokenizer = Preprocessing.fit(data.train, config).tokenizer
    assert tokenizer == ("character" if kind == "gb18030" else "word")


def test_configured_columns_are_not_guessed(own_folder: Path) -> None:
    file = write(own_folder / "mails.csv", mails())
    words = ["--data.text_column", "subject", "--data.label_column", "queue"]
    assert inspect([str(file), *words]) == 0
    data = load_config(["--config", "configs/my_data.yaml"]).data
    assert (data.text_column, data.label_column) == ("subject", "queue")


def reviews(**columns: str) -> list[dict[str, str]]:
    """90 reviews; of each further column, a row's value is the next letter or word of a few."""
    rows = [{"review": row["body"]} for row in mails()]
    return [
        row | {name: values.split()[n % len(values.split())] for name, values in columns.items()}
        for n, row in enumerate(rows)
    ]


def inspect_file(file: Path, *words: str) -> tuple[dict, str]:
    """The fields that it writes, and the comments above them."""
    assert inspect([str(file), "--force", *words]) == 0
    text = Path("configs/my_data.yaml").read_text()
    return yaml.safe_load(text)["data"], text


@pytest.mark.parametrize("name", ["rating", "star_rating", "stars", "score", "labels"])
def test_usual_names_of_labels(name: str, own_folder: Path) -> None:
    rows = reviews(verified_purchase="yes no", part="train valid test", **{name: "1 2 3 4 5"})
    data, text = inspect_file(write(own_folder / "reviews.csv", rows))
    assert data["label_column"] == name
    assert "by a guess" not in text


def test_guesses_are_reported(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = reviews(split="train dev test", verified_purchase="no yes", shop="a b c")
    data, text = inspect_file(write(own_folder / "reviews.csv", rows))
    warning = (
        "column 'verified_purchase' is taken for the labels by a guess, as none is named as labels "
        "are and this has the fewest different values; it may be 'shop' instead. "
        "--data.label_column names another.\n"
    )
    assert data["label_column"] == "verified_purchase"
    assert f"\nwarning: {warning}" in capsys.readouterr().out
    assert f"\n# {warning}" in text
    data, text = inspect_file(own_folder / "reviews.csv", "--data.label_column", "shop")
    assert data["label_column"] == "shop"
    assert "by a guess" not in text

    write(own_folder / "two.csv", reviews(score="1 2 3", category="a b"))
    data, text = inspect_file(own_folder / "two.csv")
    assert data["label_column"] == "category"
    assert (
        "# column 'category' is taken for the labels by a guess, as several columns are named as "
        "labels are; it may be 'score' instead. --data.label_column names another.\n"
    ) in text

    rows = [{"said": row["review"], "kind": row["kind"]} for row in reviews(kind="a b c")]
    data, text = inspect_file(write(own_folder / "said.csv", rows))
    assert data["text_column"] == "said"
    assert (
        "# column 'said' is taken for the texts by a guess, as none is named as texts are and this "
        "has the longest values; it may be 'kind' instead. --data.text_column names another.\n"
    ) in text


def test_a_split_column_is_found(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = reviews(split="train train Valid test train", kind="a b c d")
    file = write(own_folder / "reviews.csv", rows)
    data, _ = inspect_file(file)
    assert (data["label_column"], data["split_column"]) == ("kind", "split")
    shown = capsys.readouterr().out
    assert "column split   the splits; 3 different values\n" in shown
    assert "splits         train 54, validation 18, test 18\n" in shown
    sizes = load(load_config(["--config", "configs/my_data.yaml"])).sizes()
    assert sizes == {"train": 54, "validation": 18, "test": 18}

    rows[3]["split"] = ""
    data, text = inspect_file(write(file, rows))
    assert "split_column" not in data
    assert "# column 'split' names splits, but 1 of its cells are empty; it is not used.\n" in text
    assert inspect([str(file), "--force", "--data.split_column", "part"]) == 3
    assert "data.split_column: there is no column 'part'; found: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (["missing.csv"], "PATH: 'missing.csv' does not exist.", 3),
        (["notes.txt"], "is neither a folder nor one of .csv, .tsv, .jsonl, .parquet.", 3),
        (["mails.csv", "--output", "notes.txt"], "'notes.txt' exists; --force replaces it.", 2),
        (["mails.csv", "--data.label_column", "x"], "data.label_column: there is no column 'x'", 3),
        (["ids.csv"], "no column looks like labels; found: id (40 different values)", 3),
        (["empty"], "has no folders named after classes.", 3),
    ],
)
def test_refused(
    words: list[str],
    message: str,
    code: int,
    own_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (own_folder / "notes.txt").write_text("notes")
    (own_folder / "empty").mkdir()
    write(own_folder / "mails.csv", mails())
    write(own_folder / "ids.csv", [{"id": str(n), "text": f"text {n}"} for n in range(40)])
    assert inspect(words) == code
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (own_folder / "configs").exists()


def test_languages() -> None:
    assert languages(["Der Brief ist nicht da und ich warte mit dem Hund"]) == (
        "Latin 100% (mostly German)"
    )
    assert languages(["质量很好"]) == "Chinese characters 100%"
    assert languages(["Где моя посылка"]) == "Cyrillic 100%"
    assert languages(["😀 123"]) == "no letters"


def test_share_told() -> None:
    labels = ["a", "b"] * 20
    assert predictability(labels, labels) == 1.0
    assert predictability([str(n) for n in range(40)], labels) == 0.0, (
        "each value once tells nothing"
    )
    assert predictability(["x"] * 40, labels) < 0.6
