"""``inspect`` sees what is there, and what it writes trains as it is."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import yaml

from {{ cookiecutter.package_name }}.__main__ import program, train
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.engine.runs import find_run

inspect = program.script("inspect")


TRAIN = ["--train.max_steps", "2", "--model.name", "mlp", "--tracking.enabled", "false"]


def draw(path: Path, seed: int, size: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size + seed % 3, 3))
    path.write_bytes(tf.io.encode_png(pixels.astype("uint8")).numpy())


def test_a_folder(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(40):
        draw(own_folder / "photos" / "ab"[number % 2] / f"{number}.png", number)
    draw(own_folder / "photos" / "a" / "copy.png", 0)
    (own_folder / "photos" / "b" / "broken.jpg").write_text("not one")
    assert inspect(["photos"]) == 0
    shown = capsys.readouterr().out
    for line in (
        "classes     2: a 21, b 21\n",
        "formats     .png 41, .jpg 1\n",
        "sizes       12 x 12 15, 13 x 12 13, 14 x 12 13; shorter side 12 pixels\n",
        "channels    colour 41\n",
        "duplicates  1\n",
        "warning: 1 files cannot be read, the first is photos/b/broken.jpg: not an image",
    ):
        assert line in shown
    assert train(["--config", "configs/my_data.yaml", *TRAIN]) == 0
    assert find_run("latest").summary["data"]["unreadable"] == 1


def test_a_table(own_folder: Path) -> None:
    rows = ["picture,patient,species,checked"]
    for number in range(40):
        draw(own_folder / "images" / f"{number}.png", number)
        kind = ("cat", "dog")[number % 2]
        rows.append(f"images/{number}.png,p{number // 2},{kind},{kind == 'cat'}")
    (own_folder / "table.csv").write_text("\n".join(rows))
    assert inspect(["table.csv"]) == 0
    text = Path("configs/my_data.yaml").read_text()
    assert "# column 'checked' tells the label nearly always; it is not used." in text
    assert yaml.safe_load(text)["data"] == {
        "source": "csv",
        "path": "table.csv",
        "path_column": "picture",
        "label_column": "species",
        "group_column": "patient",
    }
    data = load(load_config(["--config", "configs/my_data.yaml"]))
    assert sum(data.sizes().values()) == 40


def test_labels_and_splits_of_a_table(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, guessed = ["split,picture,sharp,rating"], ["split,picture,camera,sharp,place"]
    for number in range(30):
        draw(own_folder / f"{number}.png", number)
        part, sharp = ("train", "val", "test")[number // 4 % 3], number % 2
        rows.append(f"{part},{number}.png,{sharp},{number % 3}")
        guessed.append(f"{part},{number}.png,c{number % 2},{sharp},{number % 3}")
    (own_folder / "table.csv").write_text("\n".join(rows))
    assert inspect(["table.csv"]) == 0
    assert "splits      train 12, validation 10, test 8\n" in capsys.readouterr().out
    text = Path("configs/my_data.yaml").read_text()
    assert "guess" not in text
    assert yaml.safe_load(text)["data"] == {
        "source": "csv",
        "path": "table.csv",
        "path_column": "picture",
        "label_column": "rating",
        "split_column": "split",
    }
    assert load(load_config(["--config", "configs/my_data.yaml"])).sizes()["test"] == 8
    (own_folder / "table.csv").write_text("\n".join(guessed))
    assert inspect(["table.csv", "--force"]) == 0
    assert (
        "\n# column 'sharp' is taken for the labels by a guess, as none is named as labels are and "
        "this has the fewest different values; it may be 'place' instead. --data.label_column "
        "names another.\n"
    ) in Path("configs/my_data.yaml").read_text()


@pytest.mark.parametrize(("size", "photos"), [(120, True), (32, True), (16, False)])
def test_photographs_are_mirrored(own_folder: Path, size: int, photos: bool) -> None:
    for number in range(20):
        draw(own_folder / "photos" / "ab"[number % 2] / f"{number}.png", number, size=size)
    assert inspect(["photos"]) == 0
    fields = yaml.safe_load(Path("configs/my_data.yaml").read_text())["data"]
    assert fields.get("augment_flip", False) is photos
    assert fields.get("augment_rotation", 10.0) == (0.0 if photos else 10.0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing"], "PATH: 'missing' does not exist."),
        (["notes.txt"], "is neither a folder nor a .csv file."),
        (["empty"], "has no folders named after classes."),
        (["table.csv"], "no column looks like paths of images; found: a, b."),
    ],
)
def test_refused(
    words: list[str], message: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_folder / "notes.txt").write_text("notes")
    (own_folder / "empty").mkdir()
    (own_folder / "table.csv").write_text("a,b\n1,2\n")
    assert inspect(words) == 3
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.count("\n") == 1
    assert not (own_folder / "configs").exists()
