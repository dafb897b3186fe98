"""JSON that features add to the file of a model, so that it goes wherever the model goes."""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

from .errors import DataProblem
from .files import atomic_write

FOLDER = "attached/"  # in the archive that the file is


def attach(model_file: Path, name: str, value: Any) -> None:
    """Add a value to the file of a model, in one step.

    Args:
        model_file: has none of this name yet.
        name: of the value.
        value: anything that JSON holds.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    with atomic_write(model_file) as beside:
        shutil.copyfile(model_file, beside)
        with zipfile.ZipFile(beside, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{FOLDER}{name}.json", text)


def read_attachments(model_file: Path) -> dict[str, Any]:
    """Return all values by name.

    Raises:
        DataProblem: there is no such file, or it is damaged.
    """
    try:
        with zipfile.ZipFile(model_file) as archive:
            entries = [entry for entry in archive.namelist() if entry.startswith(FOLDER)]
            return {
                entry.removeprefix(FOLDER).removesuffix(".json"): json.loads(archive.read(entry))
                for entry in entries
            }
    except FileNotFoundError:
        raise DataProblem(f"model file: {str(model_file)!r} does not exist.") from None
    except (zipfile.BadZipFile, ValueError, OSError):
        raise DataProblem(
            f"model file: {str(model_file)!r} is no .keras file, or a damaged one."
        ) from None
