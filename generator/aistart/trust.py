"""Whether another's template may run: rendering it is running its code.

Trust is given for one run, or remembered for one source and the version that was looked at.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from aistart.catalog import Layer, Template, merge_manifests, nested_template
from aistart.errors import AistartError, UsageProblem
from aistart.sources import Source


def what_runs(source: Source) -> list[str]:
    """What rendering the template executes, a line each."""
    root, layers = source.root, list(_all_layers(source.template))
    folders = [layer.path / "hooks" for layer in layers if layer.path.is_relative_to(root)]
    hooks = [path for folder in folders for path in sorted(folder.glob("*")) if path.is_file()]
    lines = [f"hook       {printable(path.relative_to(root).as_posix())}" for path in hooks]
    extensions = merge_manifests(layers).get("_extensions", [])
    lines += [f"extension  {printable(str(name))}" for name in extensions]
    return [*lines, "Jinja      in every file and file name: it can call any Python function"]


def _all_layers(template: Template) -> Iterator[Layer]:
    """Layers of all projects that can be made, also by templates that this one offers."""
    yield from template.all_layers
    for name in template.own.nested:
        yield from _all_layers(nested_template(template, name))


def printable(text: str) -> str:
    """Without what moves the cursor, which could hide a line that was shown."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def is_trusted(source: Source) -> bool:
    """Whether this version of the source was to be trusted always."""
    return source.template.built_in or _remembered().get(source.address) == source.version


def remember(source: Source) -> None:
    """Trust this version of the source from now on."""
    place = _place()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        kept = {**_remembered(), source.address: source.version}
        place.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise AistartError(f"--trust: {str(place)!r}: {error.strerror}.") from None


def refusal(source: Source) -> UsageProblem:
    """What is said where nobody trusts."""
    return UsageProblem(
        f"template: {source.template.word!r} is not aistart's, and to render it is to run its "
        "code; look at it, then use --trust."
    )


def _place() -> Path:
    from platformdirs import user_config_path

    return user_config_path("aistart", appauthor=False) / "trusted.json"


def _remembered() -> dict[str, str]:
    try:
        found = json.loads(_place().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
