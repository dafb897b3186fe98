"""What predictions of a model cost on this machine."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ..artifact import Artifact
from ..evaluation import Evaluation
from ..interfaces import Split

BATCH = 32
REPEATS = 7


@dataclass(frozen=True)
class Cost:
    """Cost of a model.

    Attributes:
        flops: floating-point operations of an example, preprocessing excluded; None: unknown.
        megabytes: of the model's file; None: there is no run.
        milliseconds_alone: median time of a request with one example.
        milliseconds_batch: median time of an example among 32 at once.
        machine: kind of processor, and number of GPUs.
    """

    parameters: int
    flops: int | None
    megabytes: float | None
    milliseconds_alone: float
    milliseconds_batch: float
    machine: str


def measure_cost(evaluation: Evaluation) -> Cost:
    """Time predictions of the split's first examples, and count operations."""
    model, split, run = evaluation.model, evaluation.split, evaluation.run
    file = run.model_file if run else None
    alone = split.fetch(tf.range(1))
    return Cost(
        model.network.count_params(),
        count_flops(model, tf.nest.map_structure(np.asarray, model.preprocessing(alone))),
        file.stat().st_size / 1e6 if file and file.is_file() else None,
        time_request(model, split),
        time_request(model, split, BATCH) / min(BATCH, len(split)),
        f"{platform.machine()}, {len(tf.config.list_logical_devices('GPU'))} GPUs",
    )


def count_flops(model: Artifact, inputs: Any) -> int | None:
    """Count the floating-point operations of a call, as the compiler of the backend sees them.

    Args:
        model: any model.
        inputs: preprocessed, a batch of one.

    Returns:
        The number, or None where the backend cannot say.
    """
    try:
        if keras.backend.backend() == "jax":
            import jax

            call = jax.jit(lambda x: model.task.infer(model.network, x))
            cost = call.lower(inputs).compile().cost_analysis()
            return int(cost["flops"]) if cost else None
        tf.get_logger().setLevel("ERROR")  # the profiler warns of TensorFlow's own functions
        call = tf.function(lambda x: model.task.infer(model.network, x), autograph=False)
        graph = call.get_concrete_function(inputs).graph
        profiler = tf.compat.v1.profiler
        options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation())
        found = profiler.profile(graph, options=options.with_empty_output().build())
        return int(found.total_float_ops) or None
    except (KeyError, TypeError, ValueError, RuntimeError, tf.errors.OpError):
        return None


def time_request(model: Artifact, split: Split, size: int = 1) -> float:
    """Return the median milliseconds of a request with the split's first examples.

    Args:
        model: that predicts.
        split: its examples.
        size: number of examples at once, as far as there are so many.
    """
    examples = split.fetch(tf.range(min(size, len(split))))
    return time_call(lambda: model.predict_batch(examples))


def time_call(call: Callable[[], Any]) -> float:
    """Return the median milliseconds of a call, the first one aside."""
    call()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return 1000 * float(np.median(seconds))
