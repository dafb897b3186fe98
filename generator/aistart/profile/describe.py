"""Descriptions of profiles for people; texts that come from others cannot move the cursor."""

import difflib
from pathlib import Path

from aistart.errors import closest_name
from aistart.profile import (
    FEATURES_TABLE,
    MACHINE_TABLE,
    TEMPLATES_TABLE,
    Profile,
    ProfileLayer,
    list_features,
)
from aistart.profile.reference import parse_reference
from aistart.trust import escape_unprintable


def describe_profile(profile: Profile) -> str:
    """List the values of each profile in force; those that another one overrides say so."""
    return "\n".join(line for layer in profile.layers for line in _describe_layer(profile, layer))


def _describe_layer(profile: Profile, layer: ProfileLayer) -> list[str]:
    lines = [f"{layer.place}{_describe_origin(layer)}"]
    content, known = layer.content, list_features()
    for key, value in content.answers.items():
        winner = profile.find_layer(key)
        note = "" if winner is layer or winner is None else f"  (overridden by {winner.place})"
        lines.append(f"{key} = {value}{note}")
    for name, is_on in content.features.items():
        note = _note_unknown(name, known)
        if not is_on and name in profile.required:
            note = f"  (required by {profile.required[name]})"
        elif any(name in other.content.features for other in _earlier_layers(profile, layer)):
            note = "  (overridden by yours)"
        lines.append(f"{FEATURES_TABLE}.{name} = {'on' if is_on else 'off'}{note}")
    for name in content.required:
        note = _note_unknown(name, known)
        lines.append(f"{FEATURES_TABLE}.{name} is required{note}")
    for name, template in content.templates.items():
        lines.append(f"{TEMPLATES_TABLE}.{name} = {template.place}")
    for name, need in content.machine.list_values().items():
        lines.append(f"{MACHINE_TABLE}.{name} = {need}")
    first, *others = map(escape_unprintable, lines)
    return [first, *(f"  {line}" for line in others)]


def _note_unknown(name: str, known: set[str]) -> str:
    """Return a note on a feature that no built-in template has, and that may be mistyped."""
    if name in known:
        return ""
    suggestion = closest_name(name, sorted(known))
    hint = f"; did you mean {suggestion!r}?" if suggestion else ""
    return f"  (only for your own templates: no built-in template has it{hint})"


def _describe_origin(layer: ProfileLayer) -> str:
    if layer.in_use and layer.in_use.sha256:
        return f" (the team's, signed off {layer.in_use.date}, SHA-256 {layer.in_use.sha256[:12]})"
    if layer.in_use:
        return " (the team's)"
    is_missing = not parse_reference(layer.place).is_remote and not Path(layer.place).is_file()
    return " (does not exist yet)" if is_missing else ""


def _earlier_layers(profile: Profile, layer: ProfileLayer) -> tuple[ProfileLayer, ...]:
    return profile.layers[: profile.layers.index(layer)]


def diff_profiles(old: bytes, new: bytes) -> str:
    """Compare two versions of a profile line by line."""
    before, after = (data.decode("utf-8", "replace").splitlines() for data in (old, new))
    lines = difflib.unified_diff(before, after, "signed off", "now", lineterm="")
    return "\n".join(map(escape_unprintable, lines))
