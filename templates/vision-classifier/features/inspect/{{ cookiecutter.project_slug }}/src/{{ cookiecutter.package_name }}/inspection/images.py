"""Inspection of a folder or a table of images: its fields for training, facts and warnings."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np

from ..config import Config
from ..datasets.folders import find_class_folders
from ..datasets.images import SUFFIXES, find_images, scan
from ..datasets.splits import is_split_column
from ..engine.errors import DataProblem
from ..engine.findings import Findings
from ..engine.inspection.columns import find_giveaways, find_named, format_counts
from .classes import (
    LABEL_NAMES,
    describe_classes,
    describe_splits,
    find_label_column,
    find_split_column,
    set_max_unreadable,
)

PATH_NAMES = ("path", "file", "filename", "image", "image_path")
GROUP_NAMES = ("patient", "subject", "group", "camera", "person")
MIN_PHOTO_SIZE = 24  # pixels of the shorter side; smaller images in colour are icons and signs
# Photos may be flipped; rotation and zoom cost more than they gain in few epochs.
PHOTO_FIELDS = {
    "augment_flip": True,
    "augment_rotation": 0.0,
    "augment_zoom": 0.0,
}
MANY_PHOTOS = 6_400  # an epoch of fewer has too few steps with the larger batch
LARGE_BATCH = 64


def inspect(path: Path, config: Config, given: set[str]) -> Findings:
    """Inspect a folder with a subfolder for each class, or a CSV file with a row for each image.

    Args:
        path: the folder or file.
        config: the configuration, with fields that the user set.
        given: names of the ``data`` fields that the user set; the others are guessed.

    Raises:
        DataProblem: the path is neither, or no image or label is found.
    """
    findings = Findings()
    if path.is_dir():
        paths, labels = _from_folder(path, findings)
    elif path.suffix == ".csv":
        paths, labels = _from_table(path, config, given, findings)
    else:
        raise DataProblem(f"PATH: {str(path)!r} is neither a folder nor a .csv file.")
    _describe_images(paths, labels, findings)
    return findings


def _from_folder(path: Path, findings: Findings) -> tuple[list[Path], list[str]]:
    found = find_class_folders(path, find_images)
    if not found.files:
        kinds = ", ".join(sorted(SUFFIXES))
        raise DataProblem(f"PATH: {str(path)!r} has no images ({kinds}) in folders of classes.")
    findings.fields |= {"source": "folder", "path": str(path)}
    if found.has_splits:
        findings.add_fact("splits", format_counts(Counter(file.split for file in found.files)))
    for label in found.empty_classes():
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
    images = data.path_column if "path_column" in given else _find_path_column(table)
    counts = {name: len(set(values)) for name, values in table.items() if name != images}
    groups = [name for name in find_named(list(table), *GROUP_NAMES) if name != images]
    possible = {
        name: count
        for name, count in counts.items()
        if 2 <= count <= max(2, len(rows) // 3) and not is_split_column(table[name])
    }
    # A column of groups is a label only if no other column can be one.
    only_groups = set(groups) - set(find_named(groups, *LABEL_NAMES))
    possible = {name: possible[name] for name in possible if name not in only_groups} or possible
    label = data.label_column if "label_column" in given else ""
    if not label and possible:
        label = find_label_column(possible, findings)
    if label not in table:
        found = ", ".join(table)
        raise DataProblem(
            f"PATH: no column looks like labels; found: {found}. Name one with --data.label_column."
        )
    findings.fields |= {"source": "csv", "path": str(path)}
    findings.fields |= {"path_column": images, "label_column": label}
    findings.add_fact("table", f"{len(rows)} rows; images in {images!r}, labels in {label!r}")
    rest = {name: table[name] for name in table if name not in (images, label)}
    split = data.split_column if "split_column" in given else find_split_column(rest, findings)
    if split:
        if split not in table:
            found = ", ".join(table)
            raise DataProblem(f"data.split_column: there is no column {split!r}; found: {found}.")
        findings.fields["split_column"] = split
        describe_splits(table[split], findings)
    groups = [name for name in groups if name not in (label, split)]
    if groups:
        findings.fields["group_column"] = groups[0]
        findings.add_fact("groups", f"{counts[groups[0]]} in {groups[0]!r}, each in one split")
    for name in find_giveaways(table, label, images):
        if name not in (*groups, split):
            findings.warn(f"column {name!r} tells the label nearly always; it is not used.")
    return [path.parent / value.strip() for value in table[images]], table[label]


def _find_path_column(table: dict[str, list[str]]) -> str:
    def count_images(name: str) -> int:
        return sum(Path(value.strip()).suffix.lower() in SUFFIXES for value in table[name])

    best = max(table, key=count_images)
    candidates = find_named(list(table), *PATH_NAMES)
    if count_images(best):
        return best
    if not candidates:
        found = ", ".join(table)
        raise DataProblem(
            f"PATH: no column looks like paths of images; found: {found}. Name one with "
            "--data.path_column."
        )
    return candidates[0]


def _describe_images(paths: list[Path], labels: list[str], findings: Findings) -> None:
    describe_classes(Counter(labels), "images", findings)
    scans = scan([str(path) for path in paths])
    readable = [scanned for scanned in scans if not scanned.error]
    findings.add_fact("formats", format_counts(Counter(path.suffix.lower() for path in paths)))
    bad = [
        (path, scanned.error) for path, scanned in zip(paths, scans, strict=True) if scanned.error
    ]
    if bad:
        findings.warn(f"{len(bad)} files cannot be read, the first is {bad[0][0]}: {bad[0][1]}.")
    if not readable:
        raise DataProblem("PATH: there is no readable image.")
    set_max_unreadable(len(bad), len(paths), "images", findings)
    sizes = Counter(f"{scanned.width} x {scanned.height}" for scanned in readable)
    shorter = [min(scanned.width, scanned.height) for scanned in readable]
    findings.add_fact(
        "sizes", f"{format_counts(sizes, 4)}; shorter side {_format_range(shorter)} pixels"
    )
    kinds = Counter("grey" if scanned.channels < 3 else "colour" for scanned in readable)
    findings.add_fact("channels", format_counts(kinds))
    findings.add_fact(
        "duplicates", str(len(readable) - len({scanned.sha256 for scanned in readable}))
    )
    if kinds["colour"] > kinds["grey"] and np.median(shorter) >= MIN_PHOTO_SIZE:
        findings.fields |= PHOTO_FIELDS
        batches = ""
        if len(readable) >= MANY_PHOTOS:
            findings.fields["batch_size"] = LARGE_BATCH
            batches = f", in batches of {LARGE_BATCH}"
        findings.add_fact("taken for", f"photos: trained with flips and shifts{batches}")
        findings.warn(
            "where left and right differ (digits, text, signs), set data.augment_flip false."
        )


def _format_range(values: list[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"
