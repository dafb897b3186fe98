"""Every source on a small local copy of its format, and what is checked on the way."""

import gzip
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }}.__main__ import predict
from {{ cookiecutter.package_name }}.__main__ import train as main
from {{ cookiecutter.package_name }}.config import Config, load_config
from {{ cookiecutter.package_name }}.data import load
from {{ cookiecutter.package_name }}.datasets import images as reading
from {{ cookiecutter.package_name }}.engine import cache
from {{ cookiecutter.package_name }}.engine.errors import (
    DataProblem,
    ProjectError,
    UsageProblem,
)
from {{ cookiecutter.package_name }}.engine.interfaces import DatasetSplits
from {{ cookiecutter.package_name }}.engine.runs import find_run
from {{ cookiecutter.package_name }}.preprocessing import Preprocessing


def make_config(source: str, *words: str) -> Config:
    return load_config(["--data.source", source, *words])


def draw(path: Path, seed: int, shape: tuple[int, int, int] = (10, 12, 3)) -> Path:
    """An image file of random pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape).astype("uint8")
    encode = {".png": tf.io.encode_png, ".jpg": tf.io.encode_jpeg}[path.suffix]
    path.write_bytes(encode(pixels).numpy())
    return path


def draw_folder(root: Path, counts: dict[str, int], suffix: str = ".png") -> Path:
    for place, (label, count) in enumerate(counts.items()):
        for number in range(count):
            seed = 1000 * place + number + 10**6 * len(root.name)
            draw(root / label / f"{number:03d}{suffix}", seed)
    return root


def ids(data: DatasetSplits, name: str) -> set[str]:
    return set(data.splits[name].ids)


def assert_no_leak(data: DatasetSplits) -> None:
    """No two splits share an image's bytes."""
    seen: dict[bytes, str] = {}
    for name, split in data.splits.items():
        for position in range(len(split)):
            raw = split.fetch(tf.constant([position], tf.int64))[0].numpy()
            content = raw if isinstance(raw, bytes) else raw.tobytes()
            assert seen.setdefault(content, name) == name


# === Sources ===


def test_digits() -> None:
    data = load(make_config("digits"))
    assert sum(data.sizes().values()) == 1797
    assert data.sizes()["test"] == pytest.approx(0.2 * 1797, abs=5)
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert data.notes["classes"] == {str(digit): count for digit, count in enumerate(counts)}
    assert_no_leak(data)
    assert load(make_config("digits")).digest == data.digest
    assert load(make_config("digits", "--data.split_seed", "1")).digest != data.digest


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_folder_that_is_split_here(own_folder: Path, suffix: str) -> None:
    draw_folder(own_folder / "photos", {"cat": 20, "dog": 30}, suffix)
    (own_folder / "photos/cat/notes.txt").write_text("no image")
    (own_folder / "photos/cat/.hidden.png").write_text("no image")
    data = load(make_config("folder", "--data.path", "photos"))
    assert data.sizes() == {"train": 35, "validation": 5, "test": 10}
    assert f"cat/000{suffix}" in set.union(*(ids(data, name) for name in data.splits))
    assert set(data.train.targets) == {"cat", "dog"}


def test_folder_with_its_own_splits(own_folder: Path) -> None:
    for name, count in (("train", 20), ("val", 4), ("test", 6)):
        draw_folder(own_folder / "photos" / name, {"cat": count, "dog": count})
    data = load(make_config("folder", "--data.path", "photos"))
    assert data.sizes() == {"train": 40, "validation": 8, "test": 12}
    assert all(name.startswith("val/") for name in ids(data, "validation"))


def test_folder_with_train_alone_or_train_and_test(own_folder: Path) -> None:
    draw_folder(own_folder / "photos/train", {"cat": 20, "dog": 20})
    data = load(make_config("folder", "--data.path", "photos"))
    assert data.sizes() == {"train": 28, "validation": 4, "test": 8}
    draw_folder(own_folder / "photos/test", {"cat": 5, "dog": 5})
    data = load(make_config("folder", "--data.path", "photos"))
    assert data.sizes() == {"train": 36, "validation": 4, "test": 10}
    assert all(name.startswith("test/") for name in ids(data, "test"))


def write_manifest(folder: Path, rows: list[str], header: str = "path,label") -> Path:
    file = folder / "images.csv"
    file.write_text("\n".join([header, *rows]) + "\n")
    return file


def test_csv(own_folder: Path) -> None:
    rows = []
    for number in range(40):
        draw(own_folder / f"img/{number}.png", number)
        rows.append(f"img/{number}.png,{'odd' if number % 2 else 'even'}")
    file = write_manifest(own_folder, rows, "file,kind")
    words = ["--data.path_column", "file", "--data.label_column", "kind"]
    data = load(make_config("csv", "--data.path", str(file), *words))
    assert data.sizes() == {"train": 28, "validation": 4, "test": 8}


def test_csv_groups_stay_together(own_folder: Path) -> None:
    rows = []
    for number in range(60):
        draw(own_folder / f"{number}.png", number)
        rows.append(f"{number}.png,{'ab'[number % 2]},patient{number // 5}")
    file = write_manifest(own_folder, rows, "path,label,who")
    data = load(make_config("csv", "--data.path", str(file), "--data.group_column", "who"))
    where: dict[int, set[str]] = {}
    for name in data.splits:
        for path in ids(data, name):
            where.setdefault(int(path.removesuffix(".png")) // 5, set()).add(name)
    assert all(len(names) == 1 for names in where.values())
    assert {name for names in where.values() for name in names} == set(data.splits)


def test_csv_split_column(own_folder: Path) -> None:
    rows = []
    for number in range(30):
        draw(own_folder / f"{number}.png", number)
        part = ("train", "valid", "Test")[number // 2 % 3]
        rows.append(f"{number}.png,{'ab'[number % 2]},p{number},{part}")
    file = write_manifest(own_folder, rows, "path,label,who,part")
    words = ["--data.path", str(file), "--data.split_column", "part"]
    for more in ([], ["--data.group_column", "who"]):
        data = load(make_config("csv", *words, *more))
        assert data.sizes() == {"train": 10, "validation": 10, "test": 10}
        assert {int(name.removesuffix(".png")) // 2 % 3 for name in ids(data, "test")} == {2}
    write_manifest(own_folder, [*rows, "0.png,a,p0,exam"], "path,label,who,part")
    with pytest.raises(DataProblem) as caught:
        load(make_config("csv", *words))
    assert str(caught.value) == (
        f"{file}, line 32: column 'part': 'exam' is not one of train, training, validation, valid, "
        "val, dev, test, testing."
    )


def keras_files(name: str, folder: Path) -> Callable:
    """Small files in the formats that Keras downloads; returns its ``get_file``."""
    random = np.random.default_rng(0)
    if name == "mnist":
        x, y = random.integers(0, 256, (60, 28, 28)).astype("uint8"), np.arange(60) % 10
        parts = {"x_train": x[:50], "y_train": y[:50], "x_test": x[50:], "y_test": y[50:]}
        np.savez(folder / "mnist.npz", **parts)
        return lambda *words, **options: str(folder / "mnist.npz")
    if name == "fashion_mnist":
        for kind, count in (("train", 50), ("t10k", 10)):
            pixels = random.integers(0, 256, count * 784).astype("uint8").tobytes()
            labels = (np.arange(count) % 10).astype("uint8").tobytes()
            with gzip.open(folder / f"{kind}-images-idx3-ubyte.gz", "wb") as file:
                file.write(bytes(16) + pixels)
            with gzip.open(folder / f"{kind}-labels-idx1-ubyte.gz", "wb") as file:
                file.write(bytes(8) + labels)
        return lambda fname, *words, **options: str(folder / Path(fname).name)
    fine = name == "cifar100"
    target = folder / ("cifar-100-python" if fine else "cifar-10-batches-py")
    target.mkdir()
    names = ["train", "test"] if fine else [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for part in names:
        count = 10_000 if part.startswith("data_batch") else 50
        count = 200 if fine else count
        labels = list(range(100)) * 2 if fine else [i % 10 for i in range(count)]
        pixels = random.integers(0, 256, (count, 3072)).astype("uint8")
        key = b"fine_labels" if fine else b"labels"
        (target / part).write_bytes(pickle.dumps({b"data": pixels, key: labels}))
    return lambda *words, **options: str(folder)


@pytest.mark.parametrize(
    ("name", "shape", "test_size"),
    [
        ("mnist", (28, 28, 1), 10),
        ("fashion_mnist", (28, 28, 1), 10),
        ("cifar10", (32, 32, 3), 30),
        ("cifar100", (32, 32, 3), 200),
    ],
)
def test_keras_datasets(
    name: str, shape: tuple, test_size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Keras's own reading code, on local files in the place of the download.
    module = f"keras.src.datasets.{name}.get_file"
    monkeypatch.setattr(module, keras_files(name, tmp_path))
    words = ["--data.validation_fraction", "0.25"] if name == "cifar100" else []
    words += ["--data.limit", "1000"] if name == "cifar10" else []  # of 50,050
    data = load(make_config(f"keras:{name}", *words))
    assert data.sizes()["test"] == test_size
    config = load_config()
    assert Preprocessing.fit(data.train, config).input_shape == shape
    assert len(data.notes["classes"]) == (100 if name == "cifar100" else 10)


def test_keras_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*words: object, **options: object) -> None:
        raise Exception("URL fetch failure on https://…: None -- timed out")

    monkeypatch.setattr("keras.src.datasets.mnist.get_file", fail)
    with pytest.raises(ProjectError, match="'keras:mnist' cannot be downloaded"):
        load(make_config("keras:mnist"))


def test_tfds(tmp_path: Path) -> None:
    tfds = pytest.importorskip("tensorflow_datasets", reason="needs the extra tfds")

    class Shapes(tfds.core.GeneratorBasedBuilder):
        """Random pixels of several sizes."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            label = tfds.features.ClassLabel(names=["round", "square"])
            image = tfds.features.Image(shape=(None, None, 3))
            return self.dataset_info_from_configs(
                features=tfds.features.FeaturesDict({"image": image, "label": label})
            )

        def _split_generators(self, manager):
            return {"train": self._numbers(0, 40), "test": self._numbers(40, 50)}

        def _numbers(self, first, last):
            for number in range(first, last):
                pixels = np.random.default_rng(number).integers(0, 256, (8 + number % 3, 9, 3))
                yield number, {"image": pixels.astype("uint8"), "label": number % 2}

        def _generate_examples(self):
            raise AssertionError("not used")

    Shapes(data_dir=tmp_path / "tfds").download_and_prepare()
    config = make_config("tfds:shapes", "--data.path", str(tmp_path / "tfds"))
    data = load(config)
    assert data.sizes() == {"train": 36, "validation": 4, "test": 10}
    assert set(data.test.targets) == {"round", "square"}
    assert load(config).digest == data.digest
    with pytest.raises(UsageProblem, match="has no set 'shapez'"):
        load(make_config("tfds:shapez", "--data.path", str(tmp_path / "tfds")))


# === What is checked ===


def test_copies_of_an_image_stay_in_one_split(own_folder: Path) -> None:
    for number in range(20):
        for copy in range(3):
            draw(own_folder / f"p/{'ab'[number % 2]}/{number}-{copy}.png", number)
    data = load(make_config("folder", "--data.path", "p"))
    assert data.duplicates == 40
    assert sum(data.sizes().values()) == 60
    assert_no_leak(data)


def test_copies_in_another_format_stay_in_one_split(own_folder: Path) -> None:
    for number in range(30):
        shape = (6, 6, 3)
        pixels = np.random.default_rng(number).integers(0, 256, shape).astype("uint8")
        folder = own_folder / "p" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        for level in (0, 9):
            png = tf.io.encode_png(pixels, compression=level).numpy()
            (folder / f"{number}-{level}.png").write_bytes(png)
    data = load(make_config("folder", "--data.path", "p"))
    assert data.duplicates == 30
    where = {}
    for name in data.splits:
        for path in ids(data, name):
            where.setdefault(path.split("-")[0], set()).add(name)
    assert all(len(names) == 1 for names in where.values())


def test_digest_depends_on_the_order(own_folder: Path) -> None:
    # Caches are read by position: another order must not find an old cache.
    rows = []
    for number in range(20):
        draw(own_folder / f"{number}.png", number)
        rows.append(f"{number}.png,{'ab'[number % 2]}")
    config = make_config("csv", "--data.path", str(write_manifest(own_folder, rows)))
    first = load(config).digest
    write_manifest(own_folder, sorted(rows, key=lambda row: row[-1]))
    assert load(config).digest != first


def test_labels_belong_to_their_images_whatever_the_cache(own_folder: Path) -> None:
    rows = []
    for number in range(40):
        pixels = np.full((4, 4, 1), 200 * (number % 2) + number, "uint8")
        (own_folder / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())
        rows.append(f"{number}.png,{'ab'[number % 2]}")
    for order in (rows, sorted(rows, key=lambda row: row[-1])):
        path = str(write_manifest(own_folder, order))
        config = make_config("csv", "--data.path", path, "--data.cache", "disk")
        data = load(config)
        preprocessing = Preprocessing.fit(data.train, config)
        split = cache.cache_split(data.train, preprocessing, "disk", data.digest)
        bright = split.fetch(tf.range(len(split), dtype=tf.int64)).numpy().mean(axis=(1, 2, 3))
        assert ["b" if value >= 200 else "a" for value in bright] == list(data.train.targets)


def test_copies_between_given_splits_leave_the_training(own_folder: Path) -> None:
    draw_folder(own_folder / "p/train", {"a": 10, "b": 10})
    draw_folder(own_folder / "p/test", {"a": 4, "b": 4})
    content = (own_folder / "p/test/a/000.png").read_bytes()
    (own_folder / "p/train/a/copy.png").write_bytes(content)
    data = load(make_config("folder", "--data.path", "p"))
    assert data.notes["dropped_duplicates"] == 1
    assert "train/a/copy.png" not in ids(data, "train") | ids(data, "validation")
    assert_no_leak(data)


def test_unreadable_files_are_listed_and_counted(own_folder: Path) -> None:
    root = draw_folder(own_folder / "p", {"a": 50, "b": 50})
    (root / "a/003.png").write_bytes(b"")
    (root / "b/004.png").write_bytes((root / "b/005.png").read_bytes()[:40])
    (root / "b/006.png").write_text("text")
    words = ["--data.path", "p", "--train.max_steps", "1", "--tracking.enabled", "false"]
    words += ["--model.name", "mlp"]
    assert main(["--data.source", "folder", *words]) == 0
    run = find_run("latest")
    assert run.summary["data"]["unreadable"] == 3
    log = (run.path / "train.log").read_text()
    assert "left out a/003.png: empty file" in log
    assert "left out b/004.png: not an image that can be decoded" in log


def test_too_many_unreadable_files(own_folder: Path) -> None:
    root = draw_folder(own_folder / "p", {"a": 10, "b": 10})
    for number in range(3):
        (root / f"a/{number:03d}.png").write_text("text")
    with pytest.raises(DataProblem, match=r"3 of 20 files are unreadable.*'a/000.png': not an im"):
        load(make_config("folder", "--data.path", "p"))
    assert load(make_config("folder", "--data.path", "p", "--data.max_unreadable", "0.2"))


def test_files_are_read_again_only_if_they_changed(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = draw_folder(own_folder / "p", {"a": 5, "b": 5})
    config = make_config("folder", "--data.path", "p")
    first = load(config)
    read: list[str] = []
    real = reading.scan_file
    monkeypatch.setattr(reading, "scan_file", lambda path: (read.append(path), real(path))[1])
    assert load(config).digest == first.digest
    assert read == []
    draw(root / "a/000.png", seed=999, shape=(11, 12, 3))
    assert load(config).digest != first.digest
    assert read == [str(Path("p/a/000.png"))]
    (own_folder / ".cache/images.json").write_text("{")
    load(config)


def test_unreadable_once_is_not_unreadable_for_ever(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_folder(own_folder / "p", {"a": 5, "b": 5})
    config = make_config("folder", "--data.path", "p", "--data.max_unreadable", "1")
    broken = reading.Scan(error="disk trouble")
    with monkeypatch.context() as patch:
        real = reading.scan_file
        patch.setattr(reading, "scan_file", lambda path: broken if "a/000" in path else real(path))
        assert len(load(config).unreadable) == 1
    assert load(config).unreadable == ()


def bmp_grey(pixels: np.ndarray) -> bytes:
    """An 8-bit grey BMP file of pixels (height, width)."""
    rows = [bytes(row) + bytes(-len(row) % 4) for row in pixels[::-1]]
    body, palette = b"".join(rows), b"".join(bytes([i, i, i, 0]) for i in range(256))
    start = 14 + 40 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start)
    height, width = pixels.shape
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 0, len(body), 0, 0, 256, 0)
    return head + info + palette + body


@pytest.mark.parametrize("channels", [1, 3])
def test_every_format_decodes_to_grey_and_colour(channels: int) -> None:
    grey = np.arange(64, dtype="uint8").reshape(8, 8)
    transparent = np.random.default_rng(0).integers(0, 256, (8, 8, 4)).astype("uint8")
    files = [
        tf.io.encode_png(grey[..., None]).numpy(),
        tf.io.encode_png(transparent).numpy(),
        tf.io.encode_jpeg(transparent[..., :3]).numpy(),
        bmp_grey(grey),
    ]
    for content in files:
        assert reading.scan_bytes(content).error == ""
        pixels = reading.decode(tf.constant(content), channels)
        assert pixels.shape == (8, 8, channels)
        in_graph = tf.function(lambda raw: reading.decode(raw, channels))(tf.constant(content))
        np.testing.assert_array_equal(in_graph, pixels)


def test_limit_too_small_for_the_classes() -> None:
    with pytest.raises(UsageProblem, match="20 is too few for 10 classes; at least 30 are needed"):
        load(make_config("digits", "--data.limit", "20"))


def test_limit_keeps_the_classes() -> None:
    data = load(make_config("digits", "--data.limit", "100"))
    assert sum(data.sizes().values()) == 100
    assert len(data.notes["classes"]) == 10


def one_class(root: Path) -> None:
    draw_folder(root, {"a": 5})


def empty_class(root: Path) -> None:
    draw_folder(root, {"a": 5, "b": 5})
    (root / "c").mkdir()


def tiny_class(root: Path) -> None:
    draw_folder(root, {"a": 5, "b": 2})


def no_folders(root: Path) -> None:
    root.mkdir()


def a_file(root: Path) -> None:
    root.touch()


def nothing(root: Path) -> None:
    pass


def class_only_in_test(root: Path) -> None:
    draw_folder(root / "train", {"a": 9, "b": 9})
    draw_folder(root / "test", {"a": 9, "c": 9})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nothing, "data.path: 'p' does not exist."),
        (a_file, "data.path: 'p' is not a folder."),
        (no_folders, "data.path: 'p' has no folders named after classes."),
        (one_class, "data: all images are of one class, 'a'; two are needed."),
        (empty_class, "data.path: class 'c' has no images in 'p'."),
        (tiny_class, "class 'b': 2 distinct examples or groups are too few"),
        (class_only_in_test, "data: class 'c' has no example in the training split."),
    ],
)
def test_bad_folder(
    make: Callable, message: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(own_folder / "p")
    assert main(["--data.source", "folder", "--data.path", "p"]) == 3
    assert message in capsys.readouterr().err
    assert not (own_folder / "runs").exists(), "nothing half-written"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"file,label\nx,y\n", "there is no column 'path'; found: file, label."),
        (b"path,label\n1.png,\n", "line 2: column 'label' is empty."),
        (b"path,label\n", "there are no images in"),
        (b"path,label\n\xff\xfe,a\n", "not a CSV file in UTF-8"),
        (b"", "there is no column 'path'; found: ."),
        (b"path,label\na.png,a\nb.png,b\n", "2 of 2 files are unreadable"),
    ],
)
def test_bad_manifest(content: bytes, message: str, own_folder: Path) -> None:
    (own_folder / "m.csv").write_bytes(content)
    with pytest.raises(DataProblem) as caught:
        load(make_config("csv", "--data.path", "m.csv"))
    assert message in str(caught.value)


def test_source_without_a_path() -> None:
    with pytest.raises(UsageProblem, match="source 'folder' needs a folder"):
        load(make_config("folder"))


# === Prediction ===


def write_digits(folder: Path, count: int) -> None:
    from sklearn.datasets import load_digits

    folder.mkdir()
    for number, image in enumerate(load_digits().images[:count]):
        pixels = np.round(image * (255 / 16)).astype("uint8")[..., None]
        (folder / f"{number}.png").write_bytes(tf.io.encode_png(pixels).numpy())


def test_predict(
    trained: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    folder = tmp_path / "digits"
    write_digits(folder, 5)
    assert predict([str(folder), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["id"] for row in rows] == [str(folder / f"{i}.png") for i in range(5)]
    for row in rows:
        assert row["prediction"] == max(row["scores"], key=row["scores"].get)
        assert sum(row["scores"].values()) == pytest.approx(1)
    output = tmp_path / "out.jsonl"
    one = str(folder / "1.png")
    assert predict([one, "--output", str(output), "--run", find_run("latest").id]) == 0
    again = json.loads(output.read_text())
    assert again["id"] == one
    assert again["scores"] == pytest.approx(rows[1]["scores"], rel=1e-5)
    capsys.readouterr()
    assert predict([one]) == 0
    assert capsys.readouterr().out.startswith(f"{one}  {rows[1]['prediction']}  (")


def test_predict_in_batches_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(["x.png", "--batch-size", "0"]) == 2
    assert "--batch-size" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.png", "No such file"), ("text.png", "not an image"), ("folder", "no images in")],
)
def test_predict_refuses_other_files(
    name: str,
    message: str,
    trained: Path,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "folder").mkdir()
    assert predict([str(tmp_path / name), "--output", str(tmp_path / "out.jsonl")]) == 3
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.jsonl").exists()
