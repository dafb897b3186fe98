"""Small foreign templates, written to a folder."""

import json
from pathlib import Path
from typing import Any

PROJECT = "{{ cookiecutter.project_slug }}"


def write_team_template(folder: Path, **changes: Any) -> Path:
    """Write a template with aistart's keys: two questions of its own, and two features."""
    manifest = {
        "_template": {"title": "Team", "summary": "A team's own.", "domain": "team"},
        "project_name": "My Service",
        "project_slug": "{{ cookiecutter.project_name | folder_name }}",
        "store": ["none", "bucket"],
        "bucket": "team-bucket",
        "_only_if": {"bucket": {"store": ["bucket"]}},
        "_features": {
            "docs": {"layer": "./features/docs", "summary": "a page", "default": True},
            "chart": {"layer": "./features/chart", "summary": "a chart", "default": False},
        },
        **changes,
    }
    write(folder / "cookiecutter.json", json.dumps(manifest))
    write(folder / PROJECT / "README.md", "# {{ cookiecutter.project_name }}\n")
    write(folder / PROJECT / "store.txt", "{{ cookiecutter.store }} {{ cookiecutter.bucket }}\n")
    test = (
        "from pathlib import Path\n\n\ndef test_store():\n    assert Path('store.txt').exists()\n"
    )
    write(folder / PROJECT / "tests" / "test_store.py", test)
    for name in ("docs", "chart"):
        write(folder / "features" / name / "cookiecutter.json", "{}")
        write(folder / "features" / name / PROJECT / f"{name}.md", f"{name}\n")
    return folder


def write_plain_template(folder: Path) -> Path:
    """Write a plain cookiecutter template with a boolean, expressions, an object, an extension and
    a hook that writes a file."""
    manifest = {
        "name": "Plain",
        "__small": "{{ cookiecutter.name | shout | lower }}",
        "slug": "{{ cookiecutter.__small }}",
        "with_docs": True,
        "page": "{% if cookiecutter.with_docs %}docs{% else %}bare{% endif %}",
        "greeting": ["Hello {{ cookiecutter.name }}", "Hello"],
        "ports": {"http": "80{{ cookiecutter.slug | length }}"},
        "_raw": "{{ kept }}",
        "_extensions": ["local_words.Shout"],
    }
    write(folder / "cookiecutter.json", json.dumps(manifest))
    write(
        folder / "local_words.py",
        "from jinja2.ext import Extension\n\n\n"
        "class Shout(Extension):\n"
        "    def __init__(self, environment):\n"
        "        super().__init__(environment)\n"
        "        environment.filters['shout'] = str.upper\n",
    )
    text = (
        "{{ cookiecutter.name | shout }} {{ cookiecutter.ports.http }} "
        "{% if cookiecutter.with_docs %}docs{% else %}bare{% endif %} {{ cookiecutter.page }} "
        "{{ cookiecutter.greeting }} {{ cookiecutter._raw }}\n"
    )
    write(folder / "{{ cookiecutter.slug }}" / "said.txt", text)
    hook = "from pathlib import Path\n\nPath('hook.txt').write_text('ran')\n"
    write(folder / "hooks" / "post_gen_project.py", hook)
    return folder


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
