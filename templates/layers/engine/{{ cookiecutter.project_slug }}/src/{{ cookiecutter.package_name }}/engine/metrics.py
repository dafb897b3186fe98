"""Loss and metrics as sums, which add up over the parts of a batch, replicas and batches."""

from typing import Any

import keras
import numpy as np
from keras import ops


class MetricSums:
    """Stateless sums of the loss and of Keras metrics.

    The state of a metric must be a sum over examples, as that of ``Mean``, ``Accuracy`` or ``AUC``.

    Args:
        metrics: what to measure besides the loss.
    """

    def __init__(self, metrics: list[keras.metrics.Metric]) -> None:
        self.metrics = metrics

    def build(self, targets: Any, outputs: Any) -> None:
        """Create the variables of metrics that wait for their first batch."""
        for metric in self.metrics:
            if not metric.variables:
                metric.update_state(targets, outputs)
                metric.reset_state()

    def zeros(self) -> list[np.ndarray]:
        """Return sums over no examples: loss, number of examples, variables of each metric."""
        shapes = [tuple(v.shape) for metric in self.metrics for v in metric.variables]
        return [np.zeros(shape, "float32") for shape in [(), (), *shapes]]

    def sum_part(self, loss: Any, targets: Any, outputs: Any, weights: Any) -> list[Any]:
        """Return the sums of a part of a batch: sum them over the parts, then call ``add``.

        Args:
            loss: this part's share of the batch's mean loss, ().
            weights: (rows,) of the loss; 0 for a row that only fills the batch up.
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
