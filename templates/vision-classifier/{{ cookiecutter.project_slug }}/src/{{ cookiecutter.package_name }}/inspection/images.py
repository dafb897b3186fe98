"""What can be seen of a folder or a table of images before anything is trained."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np

from ..config import Config
from ..datasets.folders import find_labelled
from ..datasets.images import SUFFIXES, find_images, scan
from ..datasets.splits import names_splits
from ..engine.errors import DataProblem
from ..engine.findings import Findings, find_giveaways, find_named, format_counts
from .classes import (
    LABEL_NAMES,
    find_label_column,
    find_split_column,
    look_at_classes,
    look_at_splits,
    tolerate,
)

PATH_NAMES = ("path", "file", "filename", "image", "image_path")
GROUP_NAMES = ("patient", "subject", "group", "camera", "person")
SMALLEST_PHOTO = 24  # pixels of the shorter side; smaller images in colour are icons and signs
# Photographs may be mirrored; to turn and to zoom them costs more than few epochs gain from it.
OF_PHOTOS = {
    "augment_flip": True,
    "augment_rotation": 0.0,
    "augment_zoom": 0.0,
    "batch_size": 64,
}


def inspect(path: Path, config: Config, given: set[str]) -> Findings:
    """Look at a folder with a folder for each class, or a CSV file with a row for each image.

    Args:
        config: what it should not guess.
        given: names of the ``data`` fields that are not to be guessed.

    Raises:
        DataProblem: it is neither.
    """
    findings = Findings()
    if path.is_dir():
        paths, labels = _from_folder(path, findings)
    elif path.suffix == ".csv":
        paths, labels = _from_table(path, config, given, findings)
    else:
        raise DataProblem(f"PATH: {str(path)!r} is neither a folder nor a .csv file.")
    _look_at(paths, labels, findings)
    return findings


def _from_folder(path: Path, findings: Findings) -> tuple[list[Path], list[str]]:
    found = find_labelled(path, find_images)
    if not found.files:
        kinds = ", ".join(sorted(SUFFIXES))
        raise DataProblem(f"PATH: {str(path)!r} has no images ({kinds}) in folders of classes.")
    findings.fields |= {"source": "folder", "path": str(path)}
    if found.divided:
        findings.add_fact("splits", format_counts(Counter(file.split for file in found.files)))
    for label in found.empty():
        findings.warn(f"class {label!r} has no images; training refuses that.")
    return [file.path for file in found.files], [file.label for file in found.files]


def _from_table(
    path: Path, config: Config, given: set[str], findings: Findings
) -> tuple[list[Path], list[str]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            rows = list(csv.DictReader(file))
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataProblem(f"PATH: {str(path)!r} is not a CSV file in UTF-8: {error}") from None
    if not rows:
        raise DataProblem(f"PATH: {str(path)!r} has no rows.")
    table = {name: [row[name] or "" for row in rows] for name in rows[0] if name}
    data = config.data
    where = data.path_column if "path_column" in given else _path_column(table)
    counts = {name: len(set(values)) for name, values in table.items() if name != where}
    groups = [name for name in find_named(list(table), *GROUP_NAMES) if name != where]
    possible = {
        name: count
        for name, count in counts.items()
        if 2 <= count <= max(2, len(rows) // 3) and not names_splits(table[name])
    }
    # What may not be torn apart is a label only where nothing else is.
    apart = set(groups) - set(find_named(groups, *LABEL_NAMES))
    possible = {name: possible[name] for name in possible if name not in apart} or possible
    label = data.label_column if "label_column" in given else ""
    if not label and possible:
        label = find_label_column(possible, findings)
    if label not in table:
        found = ", ".join(table)
        raise DataProblem(
            f"PATH: no column looks like labels; found: {found}. Name one with --data.label_column."
        )
    findings.fields |= {"source": "csv", "path": str(path)}
    findings.fields |= {"path_column": where, "label_column": label}
    findings.add_fact("table", f"{len(rows)} rows; images in {where!r}, labels in {label!r}")
    rest = {name: table[name] for name in table if name not in (where, label)}
    split = data.split_column if "split_column" in given else find_split_column(rest, findings)
    if split:
        if split not in table:
            found = ", ".join(table)
            raise DataProblem(f"data.split_column: there is no column {split!r}; found: {found}.")
        findings.fields["split_column"] = split
        look_at_splits(table[split], findings)
    groups = [name for name in groups if name not in (label, split)]
    if groups:
        findings.fields["group_column"] = groups[0]
        findings.add_fact("groups", f"{counts[groups[0]]} in {groups[0]!r}, each in one split")
    for name in find_giveaways(table, label, where):
        if name not in (*groups, split):
            findings.warn(f"column {name!r} tells the label nearly always; it is not used.")
    return [path.parent / value.strip() for value in table[where]], table[label]


def _path_column(table: dict[str, list[str]]) -> str:
    def images(name: str) -> int:
        return sum(Path(value.strip()).suffix.lower() in SUFFIXES for value in table[name])

    best = max(table, key=images)
    named = find_named(list(table), *PATH_NAMES)
    if images(best):
        return best
    if not named:
        found = ", ".join(table)
        raise DataProblem(
            f"PATH: no column looks like paths of images; found: {found}. Name one with "
            "--data.path_column."
        )
    return named[0]


def _look_at(paths: list[Path], labels: list[str], findings: Findings) -> None:
    look_at_classes(Counter(labels), "images", findings)
    scans = scan([str(path) for path in paths])
    good = [found for found in scans if not found.error]
    findings.add_fact("formats", format_counts(Counter(path.suffix.lower() for path in paths)))
    bad = [(path, found.error) for path, found in zip(paths, scans, strict=True) if found.error]
    if bad:
        findings.warn(f"{len(bad)} files cannot be read, the first is {bad[0][0]}: {bad[0][1]}.")
    if not good:
        raise DataProblem("PATH: there is no image that can be read.")
    tolerate(len(bad), len(paths), "images", findings)
    sizes = Counter(f"{found.width} x {found.height}" for found in good)
    shortest = [min(found.width, found.height) for found in good]
    findings.add_fact("sizes", f"{format_counts(sizes, 4)}; shorter side {_range(shortest)} pixels")
    kinds = Counter("grey" if found.channels < 3 else "colour" for found in good)
    findings.add_fact("channels", format_counts(kinds))
    findings.add_fact("duplicates", str(len(good) - len({found.sha256 for found in good})))
    if kinds["colour"] > kinds["grey"] and np.median(shortest) >= SMALLEST_PHOTO:
        findings.fields |= OF_PHOTOS
        findings.add_fact("taken for", "photos: trained mirrored and shifted, 64 in a batch")
        findings.warn(
            "where left and right differ (digits, text, signs), set data.augment_flip false."
        )


def _range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"
