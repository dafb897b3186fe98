"""Writing an export: the model, what is needed beside it, and how it compares."""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..artifact import PREPROCESSING, Artifact
from ..errors import ProjectError
from ..files import atomic_folder
from ..interfaces import DatasetSplits, Split
from ..lookup import find
from ..signals import StopRequest
from ..strategy import silence_stderr
from . import savedmodel
from .check import FLOAT32_TOLERANCE, Comparison, compare
from .command import MARK
from .formats import Export, Format, OwnFormat, check_network
from .readme import Example, describe
from .source import OUTPUT, Source, make_source

MAX_EXAMPLES = 2_000  # that are compared
MAX_SAMPLES = 200  # of the training split, from which int8 takes the ranges of values
EXAMPLE = "example_input.npz"


@dataclass(frozen=True)
class Request:
    """What is to be exported, and how.

    Attributes:
        name: of the model, for people.
        original: its file.
        max_drop: see ``Comparison.check``.
    """

    name: str
    original: Path
    format_name: str
    quantization: str | None
    max_drop: float


def export(
    model: Artifact, data: DatasetSplits, target_format: Format, request: Request, target: Path
) -> Comparison:
    """Write a model to a folder, unless it differs too much from the trained one.

    Args:
        model: the trained one.
        data: of its run: examples to compare with, and samples of the training split.
        target_format: of the export.
        request: what is to be exported.
        target: the folder; it is there as a whole or not at all.

    Raises:
        Interrupted: SIGTERM or Ctrl-C has come; ``target`` is as it was.
        UsageProblem: the format cannot hold the network.
        ProjectError: converting it fails, or the result differs too much.
    """
    check_network(model.network, request.format_name, request.quantization)
    source = make_source(model)
    split_name = "test" if len(data.test) else "validation"
    split = _take_some(data.splits[split_name])
    # Signals wait for the end of a step: raised inside a converter's callback, they may crash it.
    with atomic_folder(target) as folder, StopRequest() as stop:
        path = folder / target_format.file
        run = _convert(source, data.train, target_format, request, path)
        stop.check("while it exported")
        comparison = compare(
            source, run, path, request.original, split_name, split, request.quantization
        )
        comparison.check(request.max_drop)
        signatures = _check_raw(source, path) if target_format.module == "savedmodel" else []
        _write_rest(folder, source, split, comparison, target_format, request, signatures)
        stop.check("while it exported")
    return comparison


def export_own(
    export: Export, format_name: str, target_format: OwnFormat, target: Path
) -> list[str]:
    """Write a model in a format of the project's own to a folder.

    Args:
        export: what is exported.
        format_name: of the format.
        target_format: of the export.
        target: the folder; it is there as a whole or not at all.

    Returns:
        lines about the exported model.

    Raises:
        Interrupted: SIGTERM or Ctrl-C has come; ``target`` is as it was.
        ProjectError: the format cannot hold the network, or the result differs from it.
    """
    writer = find({format_name: target_format.writer}, format_name)
    with atomic_folder(target) as folder, StopRequest() as stop:
        written = writer(export, folder)
        report = {"model": export.name, "format": format_name, **written.report}
        _write_json(folder / MARK, report)
        stop.check("while it exported")
    return list(written.lines)


def _convert(
    source: Source, train: Split, target_format: Format, request: Request, path: Path
) -> Any:
    """Write the model and return it in its own runtime; converters fail with any exception."""
    converter = target_format.converter
    try:
        with silent_libraries():
            converter.write(
                source, path, request.quantization, lambda: source.samples(train, MAX_SAMPLES)
            )
            run = converter.load(source, path)
            run(next(source.samples(train, 1)))
    except (ProjectError, MemoryError):
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ProjectError(
            f"--format {request.format_name}: this network does not convert: {reason[:200]}"
        ) from error
    return run


@contextlib.contextmanager
def silent_libraries() -> Iterator[None]:
    """Hide what converters say of each step; what they raise is reported."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with silence_stderr(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _check_raw(source: Source, path: Path) -> list[str]:
    """Compare the signature from raw inputs, if there is one; return the names of its inputs."""
    loaded = savedmodel.load_raw(path)
    if loaded is None:
        return []
    run, names = loaded
    raw = source.raw_examples
    difference = np.abs(run(raw) - source.model(raw)).max()
    if not difference <= FLOAT32_TOLERANCE:
        raise ProjectError(
            f"the exported model's outputs for raw inputs differ by up to {difference:.3g}; "
            f"allowed: {FLOAT32_TOLERANCE:g}. Nothing was kept."
        )
    return names


def _write_rest(
    folder: Path,
    source: Source,
    split: Split,
    comparison: Comparison,
    target_format: Format,
    request: Request,
    raw_names: list[str],
) -> None:
    """Write what is needed beside the model."""
    model = source.model
    examples = source.examples if model.task.has_private_examples else split
    inputs = next(source.samples(examples, 1))
    outputs = source.run(inputs)
    kept = model.task.postprocess(examples.fetch(np.array([0])), outputs, model.preprocessing)
    (answer,) = model.task.decode_predictions(kept, model.preprocessing)
    arrays: dict[str, Any] = {**inputs, OUTPUT: outputs}
    np.savez(folder / EXAMPLE, **arrays)
    _write_json(folder / PREPROCESSING, model.preprocessing.to_config())
    labels = getattr(model.preprocessing, "classes", getattr(model.preprocessing, "items", None))
    if labels:
        _write_json(folder / "labels.json", list(labels))
    report = {"model": request.name, "format": request.format_name, **comparison.to_json()}
    _write_json(folder / MARK, report)
    example = Example(inputs, outputs, answer, bool(labels), raw_names)
    text = describe(source, example, comparison, target_format, request.name)
    (folder / "README.md").write_text(text, encoding="utf-8")


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _take_some(split: Split) -> Split:
    if len(split) <= MAX_EXAMPLES:
        return split
    return split.take(np.unique(np.linspace(0, len(split) - 1, MAX_EXAMPLES).astype("int64")))
