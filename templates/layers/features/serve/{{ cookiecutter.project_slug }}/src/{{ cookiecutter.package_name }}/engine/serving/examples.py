"""True examples that the page fills in: rows of the test split, in the file of the model.

Must not import TensorFlow.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from ..artifact import Artifact
    from ..interfaces import DatasetSplits

NAME = "examples"  # of the attachment
MOST = 4
LARGEST = 200_000  # characters of a row's longest value: those of a photo of 224 pixels


def pick_examples(model: Artifact, data: DatasetSplits) -> list[dict[str, Any]]:
    """Return rows of the test split with different targets; none of persons.

    Args:
        model: the trained model.
        data: of its source.
    """
    task, test = model.task, data.test
    if task.has_private_examples or not len(test):
        return []
    names = np.array([str(target) for target in test.targets])
    _, positions = np.unique(names, return_index=True)
    rows: list[dict[str, Any]] = []
    for position in np.sort(positions)[:MOST]:
        split = test.take(np.array([position]))
        frame = task.example(replace(data, train=split), model.preprocessing)
        rows += [row for row in frame.to_dict("records") if row not in rows]
    # A single one does not come from the data, but is made.
    if len(rows) < 2 or task.read_requests(rows, model.preprocessing, None).problems:
        return []
    encoded = [{name: _encode(value) for name, value in row.items()} for row in rows]
    return [row for row in encoded if max(len(str(value)) for value in row.values()) <= LARGEST]


def find_examples(
    attachments: Mapping[str, Any], schema: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the attached examples, or those of the schema where there are none.

    Args:
        attachments: of a model.
        schema: of its rows.
    """
    return list(attachments.get(NAME) or schema["examples"])


def _encode(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value
