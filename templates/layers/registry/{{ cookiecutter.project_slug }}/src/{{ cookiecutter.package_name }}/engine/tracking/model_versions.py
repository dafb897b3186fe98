"""The version of a model that an MLflow URI names. MLflow is imported only to follow an alias."""

from ..config_fields import TrackingFields
from ..errors import UsageProblem
from ..runs import read_registered


def find_model_version(uri: str, tracking: TrackingFields, field: str = "--run") -> str:
    """Return the version that an MLflow model URI names now, as services and reports call it.

    Args:
        uri: see ``runs.is_model_uri``.
        tracking: says where MLflow is.
        field: what the URI was given for, for messages.

    Raises:
        UsageProblem: no version has this alias.
        ProjectError: the registry does not answer.
    """
    model = read_registered(uri)
    if model is None:
        return uri.split(":/", 1)[1].strip("/")
    number = model.number
    if model.alias:
        from .registry import Registry  # MLflow takes a second to import

        number = Registry(model.name, tracking).number_behind(model.alias)
    if number is None:
        raise UsageProblem(f"{field}: {uri!r}: no version has this alias.")
    return str(number)
