"""What this feature does in a run; see ``engine/extensions.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..interfaces import Task


def adapt_task(task: Task, config: Any) -> Task:
    """Return the task with what prunes the network or has it taught, as ``compress`` says.

    Args:
        task: of the project.
        config: of the run.
    """
    compress = getattr(config, "compress", None)
    if compress is None:
        return task
    if compress.sparsity:
        from .pruning import add_pruning

        task = add_pruning(task, config)
    if compress.teacher:
        from .distillation import add_teacher

        task = add_teacher(task, config)
    return task
