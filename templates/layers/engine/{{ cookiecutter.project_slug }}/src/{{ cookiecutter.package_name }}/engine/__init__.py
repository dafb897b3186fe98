"""The machinery of training: the same in every project, and imports nothing of the project.

``README.md`` says what each module is for. The project hands what it knows to the engine as a
``Task`` (``interfaces.py``) and a ``Program`` (``commands/__init__.py``).
"""

PACKAGE = __name__.rpartition(".")[0]  # the package of the project that the engine lies in
PROGRAM = PACKAGE.replace("_", "-")  # the project's command, as a user types it
