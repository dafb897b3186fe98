"""Exports of the tiny task: what is written, refused, compared and left behind."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from {{ cookiecutter.package_name }} import __main__ as main_module
from {{ cookiecutter.package_name }}.__main__ import program
from {{ cookiecutter.package_name }}.config import load_config
from {{ cookiecutter.package_name }}.engine.artifact import Artifact
from {{ cookiecutter.package_name }}.engine.errors import ProjectError, UsageProblem
from {{ cookiecutter.package_name }}.engine.export import (
    check,
    formats,
    keras_file,
    pruning,
    savedmodel,
    write,
)
from {{ cookiecutter.package_name }}.engine.export.distillation import DistillationLoss
from {{ cookiecutter.package_name }}.engine.export.source import make_source
from {{ cookiecutter.package_name }}.engine.extensions import adapt_retraining
from {{ cookiecutter.package_name }}.engine.files import atomic_folder
from {{ cookiecutter.package_name }}.engine.runs import all_runs

from ..conftest import UNRECORDED
from .tiny import make_task

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="export runs on TensorFlow"
)


@pytest.fixture(scope="module")
def shared_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test puts its run for the others."""
    return tmp_path_factory.mktemp("shared") / "runs"


@pytest.fixture(autouse=True)
def own_formats(monkeypatch: pytest.MonkeyPatch) -> dict[str, formats.OwnFormat]:
    """Formats of the project's own: none at first, so that those of the engine are tested."""
    table: dict[str, formats.OwnFormat] = {}
    monkeypatch.setattr(main_module, "find_optional", lambda place: table)
    return table


@pytest.fixture
def run_folder(
    shared_runs: Path, fit_alone: None, tiny_task: Any, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A finished run of the tiny task, in the current folder."""
    monkeypatch.setattr(check, "SECONDS", 0.05)
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    if not shared_runs.exists():
        assert program.main(["train", *UNRECORDED]) == 0
        shutil.copytree("runs", shared_runs)
    shutil.copytree(shared_runs, "runs", dirs_exist_ok=True)
    return all_runs()[-1].path


def test_saved_model(run_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["export", "--format", "savedmodel"]) == 0
    folder = run_folder / "export" / "savedmodel"
    assert {file.name for file in folder.iterdir()} == {
        "saved_model",
        "preprocessing.json",
        "example_input.npz",
        "report.json",
        "README.md",
    }
    example = dict(np.load(folder / "example_input.npz"))
    expected = example.pop("outputs")
    signatures = tf.saved_model.load(str(folder / "saved_model")).signatures
    outputs = signatures["serving_default"](**example)["outputs"]
    np.testing.assert_allclose(outputs, expected, atol=1e-6)
    # From points as they are sent, of which the mean is not subtracted yet.
    mean = json.loads((folder / "preprocessing.json").read_text())["mean"]
    (values,) = example.values()
    outputs = signatures["raw"](raw=values + np.array(mean, "float32"))["outputs"]
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    report = json.loads((folder / "report.json").read_text())
    assert report["examples"] == 40
    assert report["difference"] <= 1e-4
    assert report["original"]["metrics"] == report["exported"]["metrics"]
    printed = capsys.readouterr().out
    assert "| test/accuracy |" in printed
    assert str(folder) in printed


def test_keras_file_loads_in_float32(run_folder: Path) -> None:
    assert program.main(["export", "--format", "keras", "--output", "here"]) == 0
    network = keras.models.load_model("here/model.keras")
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}


def test_half_precision_is_exported_in_float32(tiny_task: Any) -> None:
    point = keras.Input((8,), name="point")
    x = keras.layers.Dense(4, dtype="mixed_float16")(point)
    network = keras.Model(point, keras.layers.Dense(2, dtype="float32")(x))
    source = make_source(Artifact(network, None, tiny_task))
    assert {layer.compute_dtype for layer in source.model.network.layers} == {"float32"}
    values = np.random.default_rng(0).normal(size=(3, 8)).astype("float32")
    np.testing.assert_allclose(source.run({"point": values}), network(values), atol=0.02)
    assert {str(w.dtype) for w in source.model.network.weights} == {"float32"}


def test_formats_of_the_project(
    run_folder: Path,
    own_formats: dict[str, formats.OwnFormat],
    capsys: pytest.CaptureFixture[str],
) -> None:
    def write_text(export: formats.Export, folder: Path) -> formats.Written:
        if export.name != run_folder.name:
            raise ProjectError("another model.")
        (folder / "model.txt").write_text(str(len(export.model.network.weights)))
        return formats.Written({"weights": 4}, [f"seed {export.config.train.seed}"])

    own_formats["text"] = formats.OwnFormat(write_text, "read by people")
    assert program.main(["export", "--format", "text"]) == 0
    folder = run_folder / "export" / "text"
    assert {file.name for file in folder.iterdir()} == {"model.txt", "report.json"}
    report = json.loads((folder / "report.json").read_text())
    assert report == {"model": run_folder.name, "format": "text", "weights": 4}
    printed = capsys.readouterr().out
    assert "seed " in printed
    assert str(folder) in printed
    # Those of the engine are no longer there, nor are its smaller models.
    for words in (["--format", "keras"], [], ["--prune", "0.5"]):
        assert program.main(["export", *words]) == 2


def test_a_failed_format_of_the_project_leaves_nothing(
    run_folder: Path, own_formats: dict[str, formats.OwnFormat], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(export: formats.Export, folder: Path) -> formats.Written:
        (folder / "model.txt").write_text("half")
        raise ProjectError("it differs.")

    own_formats["text"] = formats.OwnFormat(fail, "read by nobody")
    assert program.main(["export", "--format", "text", "--output", "here"]) == 1
    assert "it differs." in capsys.readouterr().err
    assert not Path("here").exists()


# === What is refused ===


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "--format: which one? Allowed: savedmodel, litert, onnx, keras."),
        (
            ["--format", "savedmodel", "--quantize", "int8"],
            2,
            "--quantize: savedmodel holds float32, not int8; litert and onnx can.",
        ),
        (
            ["--format", "keras", "--quantize", "float16"],
            2,
            "--quantize: keras holds float32 and dynamic, not float16; litert and onnx can.",
        ),
        (["--format", "keras", "--run", "no"], 2, "--run: 'no' is unknown."),
        (["--format", "keras", "--output", "full"], 2, "--output: 'full' is not empty, and no"),
        (["--prune", "0.5", "--distill", "mlp"], 2, "not allowed with argument"),
        (["--prune", "1.5"], 2, "--prune: '1.5' is not allowed: a number, more than 0 and less"),
        (["--prune", "x"], 2, "--prune: 'x' is not allowed: a number, more than 0 and less than 1"),
        (["--prune", "0.5", "--quantize", "int8"], 2, "--quantize: it needs --format: savedmodel,"),
        (["--distill", "mlp", "--output", "new"], 2, "--output: it needs --format: savedmodel,"),
        (["--prune", "0.5", "--format", "keras", "--output", "full"], 2, "'full' is not empty"),
        (["--format", "keras", "--prun", "0.5"], 2, "flag: '--prun' is unknown."),
    ],
)
def test_refused(
    words: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    assert program.main(["export", *words]) == code
    assert message in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "full").iterdir()] == ["notes.txt"]
    assert not list(tmp_path.rglob("export"))


def test_missing_tools(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    assert program.main(["export", "--format", "onnx"]) == 1
    assert "onnx, onnxruntime and tf2onnx are not installed: pip install -e '.[export]'." in (
        capsys.readouterr().err
    )


class OfLayers(keras.layers.Layer):
    """A layer of a user's own, made of others."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(4)

    def call(self, x: Any) -> Any:
        return self.dense(x)


@pytest.mark.parametrize(
    ("layer", "name", "quantization", "message"),
    [
        (keras.layers.MultiHeadAttention(2, 4), "litert", "int8", "use dynamic or float16"),
        (keras.layers.MultiHeadAttention(2, 4), "keras", "dynamic", "use litert or onnx"),
        (OfLayers(), "keras", "dynamic", "use litert or onnx"),
        (OfLayers(), "onnx", "dynamic", None),
        (keras.layers.LSTM(4), "litert", "int8", "use dynamic or float16"),
        (keras.layers.LSTM(4), "litert", None, None),
        (keras.layers.Dense(4), "onnx", "int8", None),
    ],
)
def test_what_a_format_cannot_hold(
    layer: keras.layers.Layer, name: str, quantization: str | None, message: str | None
) -> None:
    x = keras.Input((5, 4))
    is_attention = isinstance(layer, keras.layers.MultiHeadAttention)
    network = keras.Model(x, layer(x, x) if is_attention else layer(x))
    reason = formats.find_obstacle(network, name, quantization)
    assert reason is None if message is None else message in (reason or "")


def test_weights_that_are_numbers_are_not_rounded() -> None:
    class Lookup(keras.layers.Dense):
        needs_float32 = True

    x = keras.Input((4,))
    network = keras.Model(x, Lookup(4)(x))
    assert formats.find_obstacle(network, "onnx", None) is None
    with pytest.raises(UsageProblem, match=r"--quantize float16: .* leave out --quantize"):
        formats.check_network(network, "onnx", "float16")


# === What fails ===


def test_a_damaged_result_is_removed(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load = savedmodel.load

    def load_damaged(*arguments: Any) -> Callable[..., np.ndarray]:
        run = load(*arguments)
        return lambda inputs: run(inputs) + 1e-3

    monkeypatch.setattr(savedmodel, "load", load_damaged)
    assert program.main(["export", "--format", "savedmodel"]) == 1
    assert "outputs differ by up to 0.001" in capsys.readouterr().err
    assert not visible(run_folder / "export")


def test_a_failing_converter_is_one_line(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("no such operation\nat line 3")

    monkeypatch.setattr(keras_file, "write", fail)
    assert program.main(["export", "--format", "keras"]) == 1
    error = capsys.readouterr().err
    assert error.endswith("this network does not convert: no such operation\n")
    assert not visible(run_folder / "export")


@pytest.mark.parametrize(
    ("name", "lower_is_better", "before", "after", "message"),
    [
        ("accuracy", False, 0.9, 0.8, r"accuracy falls from 0\.9000 to 0\.8000 with int8"),
        ("brier", True, 0.1, 0.2, r"brier rises from 0\.1000 to 0\.2000 with int8"),
    ],
)
def test_metrics_decide_about_rounded_models(
    name: str, lower_is_better: bool, before: float, after: float, message: str
) -> None:
    original = check.Measurement({"other": 1.0, name: before}, 10, 1.0)
    worse = check.Measurement({"other": 1.0, name: after}, 5, 0.5)
    about = ("int8", "test", 40, name, lower_is_better, 0.5, 3.0)
    check.Comparison(*about, original, worse).check(max_drop=0.11)
    with pytest.raises(ProjectError, match=message):
        check.Comparison(*about, original, worse).check(max_drop=0.05)
    check.Comparison(*about, worse, original).check(max_drop=0.0)


def test_an_interrupted_export_leaves_what_was_there(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["export", "--format", "keras"]
    assert program.main(words) == 0
    before = (run_folder / "export" / "keras" / "report.json").read_bytes()

    def interrupt(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(write, "compare", interrupt)
    assert program.main(words) == 75
    assert visible(run_folder / "export") == ["keras"]
    assert (run_folder / "export" / "keras" / "report.json").read_bytes() == before


def test_folders_are_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "made"
    for text in ("one", "two"):
        with atomic_folder(target) as folder:
            (folder / "file").write_text(text)
    with pytest.raises(ZeroDivisionError), atomic_folder(target) as folder:
        (folder / "file").write_text(str(1 / 0))
    assert (target / "file").read_text() == "two"
    # As a killed process leaves it: between two renames, and with a half of a folder.
    target.rename(tmp_path / ".made.old")
    (tmp_path / ".made.new-abc").mkdir()
    with atomic_folder(target) as folder:
        assert (target / "file").read_text() == "two"
        with pytest.raises(ProjectError, match="another process"), atomic_folder(target):
            pass
        (folder / "file").write_text("four")
    assert (target / "file").read_text() == "four"
    assert visible(tmp_path) == ["made", "pyproject.toml"]


# === Smaller models ===


def test_pruning_keeps_its_zeros(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "--run", run_folder.name, "--prune", "0.75", "--tracking.enabled", "false"]
    monkeypatch.setattr(pruning, "MIN_WEIGHTS", 100)
    assert program.main(words) == 0
    run = all_runs()[-1]
    network = keras.models.load_model(run.model_file)
    kernel = np.array(network.get_layer("hidden").kernel)
    assert (kernel == 0).mean() == 0.75
    earlier = keras.models.load_model(run_folder / "model.keras").get_layer("hidden").kernel
    assert not np.array_equal(kernel[kernel != 0], np.array(earlier)[kernel != 0])
    comparison = json.loads((run.path / "compression.json").read_text())
    assert comparison["smaller"]["zipped_bytes"] < comparison["original"]["zipped_bytes"]
    assert "zipped, kB" in capsys.readouterr().out


def test_pruning_resumes_exactly(
    run_folder: Path, interrupt: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "MIN_WEIGHTS", 100)
    words = [
        *("train", *UNRECORDED, "--train.log_every_steps", "1"),
        *("--train.init_from", run_folder.name, "--compress.sparsity", "0.5"),
    ]
    assert program.main([*words, "--fresh"]) == 0
    whole = all_runs()[-1]
    interrupt(3)
    assert program.main([*words, "--fresh"]) == 75
    assert program.main(["train", "--resume", "latest"]) == 0
    resumed = all_runs()[-1]
    assert resumed.summary
    assert whole.summary
    assert resumed.id != whole.id
    assert resumed.summary["weights_sha256"] == whole.summary["weights_sha256"]


def test_pruning_twice_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "MIN_WEIGHTS", 100)
    task = make_task("any")
    network = task.build_model(load_config([]), None)
    layer = network.get_layer("hidden")
    pruning.prune(network, task, 0.5)
    once = np.array(layer.kernel)
    pruning.prune(network, task, 0.5)
    np.testing.assert_array_equal(np.array(layer.kernel), once)


def test_a_model_without_kernels_is_not_pruned(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(["export", "--prune", "0.5", "--tracking.enabled", "false"]) == 2
    assert "nothing would become smaller" in capsys.readouterr().err
    assert len(all_runs()) == 1


def test_distillation_saves_the_student_alone(run_folder: Path) -> None:
    config = load_config(UNRECORDED)
    words = ["export", "--run", run_folder.name, "--distill", config.model.name]
    assert program.main([*words, "--tracking.enabled", "false"]) == 0
    run = all_runs()[-1]
    network = keras.models.load_model(run.model_file)
    assert network.output_shape == (None, 2)
    assert len(network.weights) == len(keras.models.load_model(run_folder / "model.keras").weights)
    assert run.is_tested
    assert run.config_file.read_text().count(run_folder.name) == 1


def test_a_student_is_pruned_without_its_teacher(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "MIN_WEIGHTS", 100)
    taught = ("--compress.teacher", run_folder.name)
    assert program.main(["train", *UNRECORDED, *taught]) == 0
    student = all_runs()[-1]
    assert program.main(["export", "--prune", "0.5", "--tracking.enabled", "false"]) == 0
    pruned = all_runs()[-1]
    compress = load_config(base=pruned.config_file, sections=["compress"]).compress
    assert (compress.teacher, compress.sparsity) == (None, 0.5)
    networks = [keras.models.load_model(run.model_file) for run in (student, pruned)]
    before, after = (np.array(network.get_layer("hidden").kernel) for network in networks)
    kept = np.abs(before) > np.median(np.abs(before))
    step = np.abs(after - before)[kept].max()
    assert step < np.abs(after).max() / 2, "it starts from the student"


def test_a_student_begins_from_scratch(
    run_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--compress.teacher", run_folder.name, "--train.init_from", run_folder.name]
    assert program.main(["train", *UNRECORDED, *words]) == 2
    assert "unset train.init_from or compress.teacher." in capsys.readouterr().err
    assert len(all_runs()) == 1


@pytest.mark.parametrize(
    ("init_from", "fields", "expected", "said"),
    [
        ("models:/demo/1", {"sparsity": 0.5}, (0.5, None), 0),
        (None, {"sparsity": 0.5}, (None, None), 1),
        ("models:/demo/1", {"teacher": "gone"}, (None, None), 1),
    ],
)
def test_what_is_trained_again(
    init_from: str | None, fields: dict[str, Any], expected: tuple[Any, Any], said: int
) -> None:
    words = [word for name, value in fields.items() for word in (f"--compress.{name}", str(value))]
    words += ["--train.init_from", init_from or "null"]
    texts: list[str] = []
    config = adapt_retraining(load_config(words, sections=["compress"]), texts.append)
    assert (config.compress.sparsity, config.compress.teacher) == expected
    assert len(texts) == said


def test_fields_of_training_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["config", "--compress.temperature", "3"]) == 0
    assert "temperature: 3.0" in capsys.readouterr().out
    assert program.main(["config", "--help"]) == 0
    assert "--compress.sparsity" in capsys.readouterr().out


def test_distillation_loss() -> None:
    labels = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    student = np.array([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]], "float32")
    both = np.concatenate([student, student], axis=1)
    truth = np.array([1, 2])
    loss = DistillationLoss(labels, 3, exclusive=True, weight=0.5, temperature=2.0)
    # Whoever agrees with the teacher is measured by the labels alone.
    np.testing.assert_allclose(loss(truth, both), 0.5 * labels(truth, student), rtol=1e-5)
    other = np.concatenate([student, student[:, ::-1]], axis=1)
    assert loss(truth, other) > loss(truth, both)


def test_distillation_of_an_ensemble() -> None:
    labels = keras.losses.BinaryCrossentropy(from_logits=True, reduction=None)
    both = np.array([[1.0, 1.0, 1.0], [-2.0, -2.0, -2.0]], "float32")  # two members, one teacher
    loss = DistillationLoss(labels, 2, exclusive=False, weight=1.0, temperature=1.0)
    np.testing.assert_allclose(loss(np.array([[1, 1], [0, 0]]), both), 0.0, atol=1e-6)


def visible(folder: Path) -> list[str]:
    """Return the names of what a user sees in a folder."""
    if not folder.is_dir():
        return []
    return sorted(file.name for file in folder.iterdir() if not file.name.startswith("."))
