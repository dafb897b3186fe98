"""Rendering with cookiecutter: expressions, and the files of a project.

No other part of aistart imports cookiecutter. ``context`` renders expressions over answers,
``files`` generates the files and runs the hooks, and ``foreign_code`` guards the process while the
code of a foreign template runs.
"""

from aistart.render.context import project_folder_name, render_text
from aistart.render.files import Rendering, prepare_rendering
from aistart.render.foreign_code import run_pre_prompt_hook

__all__ = [
    "Rendering",
    "prepare_rendering",
    "project_folder_name",
    "render_text",
    "run_pre_prompt_hook",
]
