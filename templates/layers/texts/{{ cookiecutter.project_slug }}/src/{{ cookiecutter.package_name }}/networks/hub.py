"""KerasHub, which is an extra."""

from functools import cache
from typing import Any

from ..engine.errors import missing_extra


@cache
def import_keras_hub() -> Any:
    """Return the module ``keras_hub``.

    Raises:
        ProjectError: it is not installed.
    """
    try:
        import keras_hub
    except ImportError:
        raise missing_extra("model.name", "presets") from None
    return keras_hub
