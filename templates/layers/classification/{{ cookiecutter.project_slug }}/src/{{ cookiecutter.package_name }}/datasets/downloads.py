"""Data sets that libraries download, with one-line errors where they cannot."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..engine.config_fields import DataFields
from ..engine.errors import DataProblem, ProjectError, UsageProblem, missing_extra


@contextmanager
def keras_download(name: str) -> Iterator[None]:
    """Report a failed download of ``keras.datasets.NAME`` inside this context in one line.

    Raises:
        ProjectError: the data set is not downloaded yet, and there is no network.
    """
    try:
        yield
    except Exception as error:
        if "URL fetch failure" not in str(error):
            raise
        raise ProjectError(
            f"data.source: 'keras:{name}' cannot be downloaded; the first use needs a network."
        ) from error


def tfds_builder(data: DataFields, columns: Sequence[str]) -> Any:
    """Download and prepare the TensorFlow Datasets set of the configured source (``tfds:NAME``).

    Args:
        data: the configured fields; ``data.path`` is the folder of prepared sets (None: TFDS's).
        columns: features that the set must have.

    Returns:
        Its builder.

    Raises:
        ProjectError: the extra ``tfds`` or the network is missing.
        UsageProblem: there is no such set.
        DataProblem: the set lacks a column.
    """
    try:
        import tensorflow_datasets
    except ImportError:
        raise missing_extra("data.source", "tfds") from None
    name = data.source.removeprefix("tfds:")
    try:
        builder = tensorflow_datasets.builder(name, data_dir=data.path)
        builder.download_and_prepare()
    except tensorflow_datasets.core.registered.DatasetNotFoundError:
        raise UsageProblem(f"data.source: TensorFlow Datasets has no set {name!r}.") from None
    except (OSError, tensorflow_datasets.download.DownloadError) as error:
        raise ProjectError(f"data.source: {data.source!r} cannot be downloaded: {error}") from error
    check_columns(name, columns, builder.info.features)
    return builder


def check_columns(name: str, columns: Sequence[str], features: Sequence[str]) -> None:
    """Check that a data set has the columns.

    Args:
        name: of the data set, for the message.
        columns: required features.
        features: those that the data set has.

    Raises:
        DataProblem: a column is missing.
    """
    for column in columns:
        if column not in features:
            found = ", ".join(features)
            raise DataProblem(f"data.source: {name!r} has no column {column!r}; found: {found}.")
