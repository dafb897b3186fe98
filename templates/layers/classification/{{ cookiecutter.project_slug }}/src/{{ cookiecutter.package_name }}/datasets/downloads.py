"""Data sets that libraries download, and what is said when they cannot."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..engine.config_fields import DataFields
from ..engine.errors import DataProblem, ProjectError, UsageProblem
from .splits import SPLIT_NAMES


@contextmanager
def keras_download(name: str) -> Iterator[None]:
    """Around the loading of ``keras.datasets.NAME``.

    Raises:
        ProjectError: it is not there yet, and there is no network.
    """
    try:
        yield
    except Exception as error:
        if "URL fetch failure" not in str(error):
            raise
        raise ProjectError(
            f"data.source: 'keras:{name}' cannot be downloaded; it needs a network once."
        ) from error


def tfds_builder(data: DataFields, columns: Sequence[str]) -> Any:
    """A prepared TensorFlow Datasets builder of the configured source (``tfds:NAME``).

    Args:
        data: its ``path`` is the folder of prepared sets (None: TFDS's own).
        columns: features that it must have.

    Raises:
        ProjectError: the extra ``tfds`` or the network is missing.
        UsageProblem: there is no such set.
        DataProblem: it lacks a column.
    """
    try:
        import tensorflow_datasets
    except ImportError:
        raise needs_extra("tfds") from None
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


def labelled_splits(names: Iterable[str]) -> dict[str, str]:
    """The splits of a data set that are of use: name -> training, validation or test; '' where
    the set is not divided. Others, such as ``unsupervised``, have no labels."""
    known = {name: SPLIT_NAMES[name] for name in names if name in SPLIT_NAMES}
    return known or dict.fromkeys(names, "")


def check_columns(name: str, columns: Sequence[str], features: Sequence[str]) -> None:
    """Refuse a data set without the columns (``DataProblem``)."""
    for column in columns:
        if column not in features:
            found = ", ".join(features)
            raise DataProblem(f"data.source: {name!r} has no column {column!r}; found: {found}.")


def needs_extra(extra: str, field: str = "data.source") -> ProjectError:
    """The error for a field whose value needs packages that are not there."""
    return ProjectError(f"{field}: it needs an extra: pip install -e '.[{extra}]'.")
