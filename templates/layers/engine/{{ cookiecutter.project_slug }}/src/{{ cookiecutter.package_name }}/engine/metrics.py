"""Loss and metrics as sums, which add up over the parts of a batch, replicas and batches."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops


def weighs_within_rows(weights: Any) -> bool:
    """Return whether there are weights within the rows of a batch, such as one for each token.

    Args:
        weights: (rows,), or (rows, …), see ``Task.make_batch``.
    """
    return len(weights.shape) > 1


def compute_loss(
    loss: keras.losses.Loss, targets: Any, outputs: Any, weights: Any, total: Any, share: float
) -> Any:
    """Return a part's share of the mean loss of a global batch, () float32.

    Args:
        loss: of the task.
        targets, outputs: of the part (rows, …).
        weights: (rows,), whose mean over the batch is 1: the loss is a mean over rows. Or (rows, …)
            within them: it is the weighted mean over all values of the loss.
        total: () sum of the weights of the whole batch, for weights within rows.
        share: of the rows that the part has in what its replica works on.
    """
    if not weighs_within_rows(weights):
        value = loss(targets, outputs, sample_weight=weights)
        return value if share == 1.0 else value * share
    values = loss.call(targets, ops.cast(outputs, loss.dtype))
    total = ops.cast(total, values.dtype)
    # Nothing is to be predicted in a batch without weights: its loss is 0.
    total = ops.where(total > 0, total, ops.ones_like(total))
    return ops.sum(values * ops.cast(weights, values.dtype)) / total


class MetricSums:
    """Stateless sums of the loss and of Keras metrics.

    The state of a metric must be a sum over examples, as that of ``Mean``, ``Accuracy`` or ``AUC``.

    Args:
        metrics: what to measure besides the loss.
    """

    def __init__(self, metrics: list[keras.metrics.Metric]) -> None:
        self.metrics = metrics

    def build(self, make_batch: Callable[[], tuple[Any, Any]]) -> None:
        """Create the variables of metrics that wait for their first batch.

        Args:
            make_batch: returns targets and outputs (1, …) of any values; called if need be.
        """
        waiting = [metric for metric in self.metrics if not metric.variables]
        batch = make_batch() if waiting else ()
        for metric in waiting:
            metric.update_state(*batch)
            metric.reset_state()

    def zeros(self) -> list[np.ndarray]:
        """Return sums over no examples: loss, number of examples, variables of each metric."""
        shapes = [tuple(v.shape) for metric in self.metrics for v in metric.variables]
        return [np.zeros(shape, "float32") for shape in [(), (), *shapes]]

    def sum_part(self, loss: Any, targets: Any, outputs: Any, weights: Any) -> list[Any]:
        """Return the sums of a part of a batch: sum them over the parts, then call ``add``.

        Args:
            loss: this part's share of the batch's mean loss, ().
            weights: (rows, …) of the loss, of rows or of what is within them, such as tokens; 0 for
                what does not count, such as a row that only fills the batch up.
        """
        seen = ops.cast(weights > 0, "float32")
        sums = [loss, ops.sum(seen)]
        for metric in self.metrics:
            empty = [ops.zeros(v.shape, v.dtype) for v in metric.variables]
            sums += metric.stateless_update_state(empty, targets, outputs, sample_weight=seen)
        return [ops.cast(value, "float32") for value in sums]

    def add(self, sums: list[Any], batch: list[Any]) -> list[Any]:
        """Return the running sums after a global batch."""
        loss, seen, *rest = batch
        return [old + new for old, new in zip(sums, [loss * seen, seen, *rest], strict=True)]

    def results(self, sums: list[np.ndarray]) -> dict[str, float]:
        """Return the means over all examples that the sums stand for."""
        loss, seen, *rest = sums
        named = {"loss": float(loss) / max(float(seen), 1.0)}
        for metric in self.metrics:
            count = len(metric.variables)
            state, rest = rest[:count], rest[count:]
            values = [ops.convert_to_tensor(value, "float32") for value in state]
            named[metric.name] = float(metric.stateless_result(values))
        return named
