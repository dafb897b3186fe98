"""Every source on a small local copy of its format, and what is checked on the way."""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }} import inputs, prediction
from {{ cookiecutter.package_name }}.__main__ import predict
from {{ cookiecutter.package_name }}.__main__ import train as main
from {{ cookiecutter.package_name }}.config import Config, load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.datasets.texts import content_key
from {{ cookiecutter.package_name }}.engine.errors import (
    DataProblem,
    ProjectError,
    UsageProblem,
)
from {{ cookiecutter.package_name }}.engine.interfaces import DatasetSplits
from {{ cookiecutter.package_name }}.engine.runs import find_run
from {{ cookiecutter.package_name }}.preprocessing import texts_of

ROWS = [(f"text number {n} of {'good' if n % 2 else 'bad'} kind", "ab"[n % 2]) for n in range(40)]


def make_config(source: str, *words: str) -> Config:
    return load_config(["--data.source", source, *words], environment={})


def write_csv(file: Path, rows: list, columns=("text", "label"), **options) -> Path:
    encoding = options.pop("encoding", "utf-8")
    with file.open("w", newline="", encoding=encoding) as opened:
        csv.writer(opened, **options).writerows([columns, *rows])
    return file


def from_csv(file: Path, *words: str) -> DatasetSplits:
    return load(make_config("csv", "--data.path", str(file), *words))


def all_texts(data: DatasetSplits) -> set[str]:
    return {text for split in data.splits.values() for text in texts_of(split)}


# === Sources ===


def test_tickets_report_the_best_reachable_accuracy() -> None:
    data = load(make_config("tickets"))
    assert data.notes["generated"] is True
    assert 0.93 < data.notes["best_reachable_accuracy"] < 0.99
    assert len(data.notes["classes"]) == 6
    assert load(make_config("tickets")).digest == data.digest


def write_table(folder: Path, kind: str) -> Path:
    import pandas as pd

    file = folder / f"table.{kind}"
    frame = pd.DataFrame(ROWS, columns=["text", "label"])
    if kind == "jsonl":
        lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
        file.write_text("\n".join(lines) + "\n\n")
    elif kind == "parquet":
        frame.to_parquet(file)
    else:
        frame.to_csv(file, index=False, sep="\t" if kind == "tsv" else ",")
    return file


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_tables(kind: str, own_folder: Path) -> None:
    data = load(make_config(kind, "--data.path", str(write_table(own_folder, kind))))
    assert sum(data.sizes().values()) == 40
    assert all_texts(data) == {text for text, _ in ROWS}
    for split in data.splits.values():
        for text, label in zip(texts_of(split), split.targets, strict=True):
            assert dict(ROWS)[text] == label


def test_columns_and_encodings(own_folder: Path) -> None:
    rows = [(f"r{n}", f"评论{n}号", "好坏"[n % 2], f"p{n // 4}") for n in range(40)]
    for encoding in ("utf-8-sig", "gb18030", "utf-16"):
        columns = ("key", "body", "kind", "author")
        file = write_csv(own_folder / "mails.csv", rows, columns, encoding=encoding)
        words = ["--data.text_column", "body", "--data.label_column", "kind"]
        words += ["--data.id_column", "key", "--data.group_column", "author"]
        words += ["--data.encoding", "utf-8" if encoding == "utf-8-sig" else encoding]
        data = from_csv(file, *words)
        assert all_texts(data) == {row[1] for row in rows}
        assert set(data.train.ids) < {row[0] for row in rows}
        authors = [{rows[int(i[1:])][3] for i in split.ids} for split in data.splits.values()]
        assert not authors[0] & authors[1] | authors[0] & authors[2] | authors[1] & authors[2]


def test_other_names_of_split_folders(own_folder: Path) -> None:
    for number, (text, label) in enumerate(ROWS):
        part = ("train", "train", "valid", "dev", "testing")[number // 8]
        path = own_folder / "p" / part / label / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    data = load(make_config("folder", "--data.path", "p"))
    assert data.sizes() == {"train": 16, "validation": 16, "test": 8}


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_a_split_column(kind: str, own_folder: Path) -> None:
    import pandas as pd

    parts = ["train", "Training", "dev", "test ", "valid"]
    rows = [(text, label, parts[n // 2 % 5]) for n, (text, label) in enumerate(ROWS)]
    frame = pd.DataFrame(rows, columns=["text", "label", "part"])
    file = own_folder / f"table.{kind}"
    if kind == "jsonl":
        frame.to_json(file, orient="records", lines=True)
    elif kind == "parquet":
        frame.to_parquet(file)
    else:
        frame.to_csv(file, index=False, sep="\t" if kind == "tsv" else ",")
    data = load(make_config(kind, "--data.path", str(file), "--data.split_column", "part"))
    assert data.sizes() == {"train": 16, "validation": 16, "test": 8}
    part_of = {text: part for text, _, part in rows}
    assert {part_of[text] for text in texts_of(data.validation)} == {"dev", "valid"}


@pytest.mark.parametrize(
    ("parts", "column", "message"),
    [
        (["train", "exam"], "part", "row 3: column 'part': 'exam' is not one of train, training, "),
        (["train", ""], "part", "row 3: column 'part': '' is not one of train, training, "),
        (["train", "test"], "split", ": there is no column 'split'; found: text, label, part."),
        (["dev", "test"], "part", "data: class 'a' has no example in the training split."),
    ],
)
def test_wrong_split_column(parts: list[str], column: str, message: str, own_folder: Path) -> None:
    rows = [(*row, parts[n % 2]) for n, row in enumerate(ROWS)]
    file = write_csv(own_folder / "table.csv", rows, ("text", "label", "part"))
    with pytest.raises(DataProblem) as caught:
        from_csv(file, "--data.split_column", column)
    assert message in str(caught.value)
    if "row" in message:
        assert str(caught.value) == (
            f"{file}, row 3: column 'part': {parts[1]!r} is not one of train, training, "
            "validation, valid, val, dev, test, testing."
        )


@pytest.mark.parametrize("divided", [False, True])
def test_folders(divided: bool, own_folder: Path) -> None:
    for number, (text, label) in enumerate(ROWS):
        part = ("train", "train", "test", "train")[number // 10] if divided else ""
        path = own_folder / "p" / part / label / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    data = load(make_config("folder", "--data.path", "p"))
    assert all_texts(data) == {text for text, _ in ROWS}
    if divided:
        assert {name.split("/")[0] for name in data.test.ids} == {"test"}
        assert len(data.test) == 10


def keras_imdb(folder: Path) -> Callable:
    texts = np.array([[1 + n % 5, 2, 3 + n] for n in range(60)], dtype=object)
    parts = {"x_train": texts[:40], "y_train": np.arange(40) % 2}
    parts |= {"x_test": texts[40:], "y_test": np.arange(20) % 2}
    np.savez(folder / "imdb.npz", **parts)
    index = {f"word{n}": n for n in range(1, 70)}
    (folder / "imdb_word_index.json").write_text(json.dumps(index))
    return lambda fname, *words, **options: str(folder / Path(fname).name)


def test_keras_imdb(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Keras's own reading code, on local files in the place of the download.
    monkeypatch.setattr("keras.src.datasets.imdb.get_file", keras_imdb(own_folder))
    data = load(make_config("keras:imdb"))
    assert data.sizes()["test"] == 20
    assert set(data.train.targets) == {"negative", "positive"}
    assert all(text.startswith("word") for text in all_texts(data))


def test_keras_reuters(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = np.array([[1 + n % 5, 2, 3 + n] for n in range(920)], dtype=object)
    np.savez(own_folder / "reuters.npz", x=texts, y=np.arange(920) % 46)
    index = {f"word{n}": n for n in range(1, 1000)}
    (own_folder / "reuters_word_index.json").write_text(json.dumps(index))
    local = lambda fname, *words, **options: str(own_folder / Path(fname).name)  # noqa: E731
    monkeypatch.setattr("keras.src.datasets.reuters.get_file", local)
    data = load(make_config("keras:reuters"))
    assert len(data.notes["classes"]) == 46


def test_keras_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*words: object, **options: object) -> None:
        raise Exception("URL fetch failure on https://…: None -- timed out")

    monkeypatch.setattr("keras.src.datasets.imdb.get_file", fail)
    with pytest.raises(ProjectError, match="'keras:imdb' cannot be downloaded"):
        load(make_config("keras:imdb"))


def test_tfds(tmp_path: Path) -> None:
    tfds = pytest.importorskip("tensorflow_datasets", reason="needs the extra tfds")

    class Notes(tfds.core.GeneratorBasedBuilder):
        """Numbered notes."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            label = tfds.features.ClassLabel(names=["bad", "good"])
            return self.dataset_info_from_configs(
                features=tfds.features.FeaturesDict({"text": tfds.features.Text(), "label": label})
            )

        def _split_generators(self, manager):
            return {"train": self._numbers(0, 40), "test": self._numbers(40, 50)}

        def _numbers(self, first, last):
            for number in range(first, last):
                yield number, {"text": f"note {number}", "label": number % 2}

        def _generate_examples(self):
            raise AssertionError("not used")

    Notes(data_dir=tmp_path / "tfds").download_and_prepare()
    data = load(make_config("tfds:notes", "--data.path", str(tmp_path / "tfds")))
    assert data.sizes()["test"] == 10
    assert set(data.test.targets) == {"bad", "good"}
    with pytest.raises(UsageProblem, match="has no set 'notez'"):
        load(make_config("tfds:notez", "--data.path", str(tmp_path / "tfds")))
    words = ["--data.path", str(tmp_path / "tfds"), "--data.text_column", "body"]
    with pytest.raises(DataProblem, match="has no column 'body'; found: "):
        load(make_config("tfds:notes", *words))


def test_hugging_face(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra hf")
    label = datasets.ClassLabel(names=["bad", "good"])
    features = datasets.Features({"text": datasets.Value("string"), "label": label})

    def part(first: int, last: int):
        rows = {"text": [f"note {n}" for n in range(first, last)]}
        rows["label"] = [n % 2 for n in range(first, last)]
        return datasets.Dataset.from_dict(rows, features=features)

    both = datasets.DatasetDict({"train": part(0, 40), "test": part(40, 50)})
    unlabelled = {"text": ["no label"] * 50, "label": [-1] * 50}
    both["unsupervised"] = datasets.Dataset.from_dict(unlabelled, features=features)
    both.save_to_disk(str(tmp_path / "set"))
    data = load(make_config("hf:local", "--data.path", str(tmp_path / "set")))
    assert data.sizes()["test"] == 10
    assert set(data.test.targets) == {"bad", "good"}


# === Several labels of a text ===


def make_tagged(count: int = 60) -> list[tuple[str, list[str]]]:
    """Texts that say of themselves which labels they have; every sixth has none."""
    tags = ("red", "green", "blue")
    chosen = [[tag for bit, tag in enumerate(tags) if n % 6 & (1 << bit)] for n in range(count)]
    return [(f"note {n} is {' and '.join(c) or 'plain'}", c) for n, c in enumerate(chosen)]


def test_several_labels(own_folder: Path) -> None:
    rows = make_tagged()
    in_csv = write_csv(own_folder / "t.csv", [(text, "; ".join(tags)) for text, tags in rows])
    data = from_csv(in_csv, "--data.label_separator", ";")
    assert data.notes["classes"] == {"blue": 20, "green": 20, "red": 30}
    assert data.unreadable == ()
    for split in data.splits.values():
        assert {tag for target in split.targets for tag in target.split("; ")} > {"red", "blue"}
    file = own_folder / "t.jsonl"
    file.write_text("\n".join(json.dumps({"text": t, "label": tags}) for t, tags in rows))
    words = ["--data.path", str(file)]
    listed = load(make_config("jsonl", *words, "--data.label_separator", ";"))
    assert listed.notes == data.notes
    with pytest.raises(DataProblem, match=r"a row has a list of labels, .*; set data\.label_sep"):
        load(make_config("jsonl", *words))
    with pytest.raises(DataProblem, match=r"'e' occurs in the label 'red'; use another"):
        load(make_config("jsonl", *words, "--data.label_separator", "e"))


def test_several_labels_are_learnt_and_predicted(
    own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [(text, ";".join(tags)) for text, tags in make_tagged(240)]
    file = write_csv(own_folder / "t.csv", rows)
    words = ["--data.source", "csv", "--data.path", str(file), "--data.label_separator", ";"]
    words += ["--model.embedding_dim", "8", "--data.sequence_length", "8"]
    assert main([*words, "--tracking.enabled", "false", "--train.max_steps", "2"]) == 0
    run = find_run("latest")
    metrics = run.summary["metrics"]
    assert metrics["test/micro_f1"] > 0.9 > metrics["test/loss"]
    names = {file.name for file in run.report_dir.iterdir()}
    assert {"test_mistakes.csv", "test_classes.csv", "test_reliability.svg"} < names
    assert "test_confusion.svg" not in names
    assert [row["name"] for row in run.summary["baselines"]] == [
        "majority class",
        "TF-IDF, logistic regression",
    ]
    capsys.readouterr()
    assert predict(["note 7 is red and blue", "note 8 is plain", "--json"]) == 0
    predictions = [json.loads(line)["prediction"] for line in capsys.readouterr().out.splitlines()]
    assert predictions == ["blue;red", ""]
    assert predict(["note 8 is plain"]) == 0
    assert "(none)" in capsys.readouterr().out


# === What is checked ===


def test_near_duplicates_stay_in_one_split(own_folder: Path) -> None:
    rows = []
    for number, (text, label) in enumerate(ROWS):
        rows += [(text, label), (f"{text.upper()} !!", label), (text.replace(" ", "  "), label)]
        assert content_key(rows[-1][0]) == content_key(rows[-2][0]), number
    data = from_csv(write_csv(own_folder / "t.csv", rows))
    assert data.duplicates == 80
    keys = [set(map(content_key, texts_of(split))) for split in data.splits.values()]
    assert not keys[0] & keys[1] | keys[0] & keys[2] | keys[1] & keys[2]


def test_texts_of_signs_alone_are_not_all_the_same() -> None:
    assert content_key("😀") != content_key("😡")
    assert content_key("Good!") == content_key(" good")


def test_unusable_rows_are_left_out_and_listed(own_folder: Path) -> None:
    rows = [*ROWS, ("", "a"), ("no label", ""), ("😀", "a"), ("a\x00b", "b"), ("x" * 10**6, "a")]
    data = from_csv(write_csv(own_folder / "t.csv", rows))
    assert data.unreadable == (("42", "the text is empty"), ("43", "the label is missing"))
    assert sum(data.sizes().values()) == 43


def test_rows_in_another_encoding(own_folder: Path) -> None:
    file = write_csv(own_folder / "t.csv", ROWS)
    file.write_bytes(file.read_bytes() + "größer,a\n".encode("cp1252"))
    assert from_csv(file).unreadable == (("42", "not utf-8"),)


def test_quotation_marks_of_tsv_are_characters(own_folder: Path) -> None:
    rows = [
        (f'"text {n}' if n % 10 == 3 else f"text {n}", label) for n, (_, label) in enumerate(ROWS)
    ]
    file = own_folder / "t.tsv"
    file.write_text("\n".join(map("\t".join, [("text", "label"), *rows])) + "\n")
    data = load(make_config("tsv", "--data.path", str(file)))
    assert data.unreadable == ()
    assert all_texts(data) == {text for text, _ in rows}


@pytest.mark.parametrize("closing", ["", '"'])
def test_a_quotation_mark_that_is_not_closed_is_refused(closing: str, own_folder: Path) -> None:
    lines = [f"text {n},{label}" for n, (_, label) in enumerate(ROWS)]
    lines[4], lines[30] = '"' + lines[4], closing + lines[30]
    file = own_folder / "t.csv"
    file.write_text("\n".join(["text,label", *lines]) + "\n")
    with pytest.raises(DataProblem, match=r"t\.csv, line 6: a row runs over \d\d lines; is a quot"):
        from_csv(file)


def test_texts_of_several_lines_are_texts(own_folder: Path) -> None:
    rows = [
        (f"{text},\nhello\n\nwhere, or when, is it?\nbye {n}", label)
        for n, (text, label) in enumerate(ROWS)
    ]
    assert all_texts(from_csv(write_csv(own_folder / "t.csv", rows))) == {text for text, _ in rows}
    endless = [*ROWS, ("line\n" * 1_500, "a")]
    with pytest.raises(DataProblem, match=r"line \d+: a row of over 1000 lines; is a quotation"):
        from_csv(write_csv(own_folder / "t.csv", endless))


def with_bad_label(folder: Path) -> list[str]:
    write_csv(
        folder / "t.csv",
        [(text, "") if n < 9 else (text, kind) for n, (text, kind) in enumerate(ROWS)],
    )
    return ["csv", "--data.path", "t.csv"]


def swap_columns(folder: Path) -> list[str]:
    write_csv(folder / "t.csv", [row[::-1] for row in ROWS])
    return ["csv", "--data.path", "t.csv"]


def one_class(folder: Path) -> list[str]:
    write_csv(folder / "t.csv", [(text, "a") for text, _ in ROWS])
    return ["csv", "--data.path", "t.csv"]


def other_columns(folder: Path) -> list[str]:
    write_csv(folder / "t.csv", ROWS, columns=("body", "kind"))
    return ["csv", "--data.path", "t.csv"]


def no_rows(folder: Path) -> list[str]:
    write_csv(folder / "t.csv", [])
    return ["csv", "--data.path", "t.csv"]


def other_encoding(folder: Path) -> list[str]:
    write_csv(
        folder / "t.csv", [(f"评论{n}", "好坏"[n % 2]) for n in range(40)], encoding="gb18030"
    )
    return ["csv", "--data.path", "t.csv"]


def no_parquet(folder: Path) -> list[str]:
    (folder / "t.parquet").write_text("not one")
    return ["parquet", "--data.path", "t.parquet"]


def only_in_test(folder: Path) -> list[str]:
    for place in ("train/a/1", "train/b/2", "train/a/3", "train/b/4", "test/c/5", "test/a/6"):
        path = folder / "p" / f"{place}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text {place}")
    return ["folder", "--data.path", "p"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (with_bad_label, "9 of 40 texts cannot be used, more than data.max_unreadable 0.05"),
        (
            swap_columns,
            "'label' has 40 different values in 40 rows; these are no classes. Is it swapped",
        ),
        (one_class, "all texts are of one class, 'a'; two classes are needed."),
        (other_columns, "there is no column 'text'; found: body, kind."),
        (no_rows, "there are no texts in 't.csv'"),
        (other_encoding, "the first is '2': not utf-8."),
        (no_parquet, "not a parquet file"),
        (only_in_test, "class 'c' has no example in the training split."),
    ],
)
def test_bad_data_is_exit_code_3(
    make: Callable, message: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, *words = make(own_folder)
    assert main(["--data.source", source, *words]) == 3
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (own_folder / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["csv"], "data.path: source 'csv' needs a file."),
        (["csv", "--data.path", "t.tsv"], "must end with .csv"),
        (["csv", "--data.path", "t.csv", "--data.encoding", "klingon"], "'klingon' is unknown"),
    ],
)
def test_wrong_use_is_exit_code_2(
    words: list[str], message: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_csv(own_folder / "t.csv", ROWS)
    write_csv(own_folder / "t.tsv", ROWS)
    assert main(["--data.source", *words]) == 2
    assert message in capsys.readouterr().err


def test_fetching_gives_the_texts_in_any_order() -> None:
    data = load(make_config("tickets", "--data.limit", "50"))
    texts = list(texts_of(data.train))
    places = tf.constant([5, 0, 5], tf.int64)
    assert [t.decode() for t in data.train.fetch(places).numpy()] == [texts[i] for i in (5, 0, 5)]


def test_predict_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []

    def lines() -> Iterator[str]:
        for number in range(50_000):
            read.append(number)
            yield f"text {number}\n"

    def predict_split(split: inputs.Split, batch_size: int) -> np.ndarray:
        assert len(split) <= batch_size
        return np.zeros((len(split), 2))

    classes = SimpleNamespace(classes=("no", "yes"), separator="")
    model = SimpleNamespace(predict_split=predict_split, preprocessing=classes)
    arguments = SimpleNamespace(input=["-"], batch_size=100, explain=False)
    monkeypatch.setattr(sys, "stdin", lines())
    answers = prediction.predict(model, arguments, load_config([], environment={}))
    assert next(answers)["id"] == "1"
    assert len(read) == 100
    assert next(prediction.format_predictions(answers)).startswith("2 ")
    assert len(read) <= 1_200


def test_predict_reports_unreadable_files_before_the_first_prediction(own_folder: Path) -> None:
    (own_folder / "a.jsonl").write_text('{"text": "one"}\n' * 9 + "no JSON\n")
    parts = inputs.read(["first", "a.jsonl"], load_config([], environment={}), 1)
    with pytest.raises(DataProblem, match="row 10: no JSON"):
        next(parts)
