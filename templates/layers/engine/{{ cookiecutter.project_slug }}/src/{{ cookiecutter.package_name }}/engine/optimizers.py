"""Optimizers and learning-rate schedules."""

import math

import keras
from keras import ops

from .config_fields import TrainFields


@keras.saving.register_keras_serializable(__package__)
class WarmUpThenDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up from zero, then a constant rate, a cosine to zero, or steps of a tenth.

    Of Keras's schedules only ``CosineDecay`` has a warm-up, whose first step learns nothing.

    Args:
        peak: the highest rate.
        warmup_steps: steps of the rise.
        total_steps: steps of rise and decay together.
        decay: ``constant``, ``cosine`` (Loshchilov & Hutter 2017, without restarts) or ``step``.
    """

    def __init__(self, peak: float, warmup_steps: int, total_steps: int, decay: str) -> None:
        super().__init__()
        self.peak, self.warmup_steps = peak, warmup_steps
        self.total_steps, self.decay = total_steps, decay

    def __call__(self, step):
        step = ops.cast(step, "float32")
        done = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        done = ops.clip(done, 0.0, 1.0)
        if self.decay == "cosine":
            share = 0.5 * (1.0 + ops.cos(math.pi * done))
        elif self.decay == "step":
            share = ops.where(done < 0.5, 1.0, ops.where(done < 0.75, 0.1, 0.01))
        else:
            share = ops.ones_like(done)
        rising = (step + 1.0) / max(1, self.warmup_steps)
        return self.peak * ops.where(step < self.warmup_steps, rising, share)

    def get_config(self):
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "total_steps": self.total_steps,
            "decay": self.decay,
        }


def make_optimizer(
    train: TrainFields, learning_rate: float, total_steps: int, decay_scale: float = 1.0
) -> keras.optimizers.Optimizer:
    """The configured optimizer for a phase of ``total_steps`` steps.

    Args:
        decay_scale: factor of ``train.weight_decay``.
    """
    weight_decay = decay_scale * train.weight_decay
    warmup_steps = round(train.warmup_fraction * total_steps)
    rate = WarmUpThenDecay(learning_rate, warmup_steps, total_steps, train.schedule)
    if train.optimizer == "sgd":
        optimizer = keras.optimizers.SGD(
            rate,
            momentum=train.momentum,
            nesterov=train.momentum > 0,
            weight_decay=weight_decay,
            global_clipnorm=train.gradient_clip_norm,
        )
    else:
        optimizer = keras.optimizers.AdamW(
            rate, weight_decay=weight_decay, global_clipnorm=train.gradient_clip_norm
        )
    # Decay pulls weights towards zero; biases and normalisation scales are meant to be elsewhere.
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    if keras.config.dtype_policy().compute_dtype == "float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
