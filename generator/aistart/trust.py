"""Trust in foreign templates: to render one is to run its code.

Trust is given for one run, or remembered for one source and one version of it.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from aistart.catalog import Layer, Template, load_subtemplate, merge_manifests
from aistart.errors import AistartError, UsageProblem
from aistart.sources import Source


def list_code(source: Source) -> list[str]:
    """Return a line for each part of the template that runs while it is rendered."""
    root, layers = source.root, list(_walk_layers(source.template))
    folders = [layer.path / "hooks" for layer in layers if layer.path.is_relative_to(root)]
    hooks = [path for folder in folders for path in sorted(folder.glob("*")) if path.is_file()]
    names = [escape_unprintable(path.relative_to(root).as_posix()) for path in hooks]
    extensions = map(str, merge_manifests(layers).get("_extensions", []))
    return [
        *(f"hook       {name}" for name in names),
        *(f"extension  {escape_unprintable(name)}" for name in extensions),
        "Jinja      in every file and file name: it can call any Python function",
    ]


def _walk_layers(template: Template) -> Iterator[Layer]:
    """Yield every layer of the template and of its nested templates."""
    yield from template.all_layers
    for name in template.own_layer.subtemplates:
        yield from _walk_layers(load_subtemplate(template, name))


def escape_unprintable(text: str) -> str:
    """Escape what moves the cursor: it could hide a line that the user must see."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def is_trusted(source: Source) -> bool:
    """Whether the source is built in, or this version of it is remembered as trusted."""
    return source.template.is_built_in or _load_versions().get(source.address) == source.version


def remember(source: Source) -> None:
    """Trust this version of the source from now on.

    Raises:
        AistartError: the file of trusted versions cannot be written.
    """
    path = _versions_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        versions = {**_load_versions(), source.address: source.version}
        path.write_text(json.dumps(versions, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise AistartError(f"--trust: {str(path)!r}: {error.strerror}.") from None


class TrustRequired(UsageProblem):
    """Nobody trusts the template."""


def trust_required_error(source: Source) -> TrustRequired:
    """Build the error for a template that nobody trusts."""
    return TrustRequired(
        f"template: {source.template.reference!r} does not come with aistart, and to render it is "
        "to run its code; look at it, then use --trust."
    )


def _versions_path() -> Path:
    from platformdirs import user_config_path

    return user_config_path("aistart", appauthor=False) / "trusted.json"


def _load_versions() -> dict[str, str]:
    """Load the trusted version of each source by its address."""
    try:
        versions = json.loads(_versions_path().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return versions if isinstance(versions, dict) else {}
