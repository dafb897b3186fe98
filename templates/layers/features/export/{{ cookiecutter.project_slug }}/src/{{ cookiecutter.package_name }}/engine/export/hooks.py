"""What this feature does in a run; see ``engine/extensions.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..interfaces import Task


def adapt_task(task: Task, config: Any) -> Task:
    """Return the task with what prunes the network or has it taught, as ``compress`` says.

    Args:
        task: of the project.
        config: of the run.

    Raises:
        UsageProblem: the examples of a batch are no inputs with one target each.
    """
    compress = getattr(config, "compress", None)
    if compress is None or not (compress.sparsity or compress.teacher):
        return task
    from ..interfaces import finish_inputs

    if task.make_batch is not finish_inputs:
        raise UsageProblem(f"compress: models of {task.name} are neither pruned nor taught.")
    if compress.sparsity:
        from .pruning import add_pruning

        task = add_pruning(task, config)
    if compress.teacher:
        from .distillation import add_teacher

        task = add_teacher(task, config)
    return task


def adapt_retraining(config: Any, say: Callable[[str], None]) -> Any:
    """Return the configuration without a teacher, and pruned only if training starts from weights.

    The weights hold what the teacher had to say, and it may be gone by now. A model that was pruned
    keeps its zeros.

    Args:
        config: that the model was trained with.
        say: tells the user what is left out.
    """
    if getattr(config, "compress", None) is None:
        return config
    changes: dict[str, None] = {}
    if config.compress.teacher:
        changes["teacher"] = None
        say(f"without the teacher {config.compress.teacher}: a student learns from the data alone")
    if config.compress.sparsity and not config.train.init_from:
        changes["sparsity"] = None
        say("without compress.sparsity: another model has no weights that could be pruned")
    return config.model_copy(update={"compress": config.compress.model_copy(update=changes)})
