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


@keras.saving.register_keras_serializable(__package__)
class MasterWeights(keras.optimizers.Optimizer):
    """An optimizer of float32 copies of weights, which are rounded to the weights' own type.

    Small updates, which rounding would lose, add up in the copies (Micikevicius et al., Mixed
    Precision Training, 2018). The copies are variables of the optimizer, and so in checkpoints.

    Args:
        inner_optimizer: that updates the copies.
    """

    def __init__(self, inner_optimizer: keras.optimizers.Optimizer, name: str = "master_weights"):
        super().__init__(learning_rate=0.0, name=name)
        self.inner_optimizer = inner_optimizer

    def build(self, variables):
        masters = [self._make_master(variable) for variable in variables]
        # Keras takes variables in attributes for the optimizer's own, which weights are not.
        object.__setattr__(self, "masters", masters)
        self.inner_optimizer.build(self.masters)
        super().build(variables)

    def _make_master(self, weight: keras.Variable) -> keras.Variable:
        if weight.dtype == "float32":
            return weight
        master = self.add_variable(
            weight.shape, dtype="float32", aggregation="mean", name=weight.name
        )
        master.assign(ops.cast(weight.value, "float32"))
        return master

    @property
    def variables(self):
        return self._variables + self.inner_optimizer.variables

    def apply(self, grads, trainable_variables=None):
        weights = self._trainable_variables
        grads = [None if grad is None else ops.cast(grad, "float32") for grad in grads]
        self.inner_optimizer.apply(grads, self.masters)
        for weight, master in zip(weights, self.masters, strict=True):
            if master is not weight:
                weight.assign(ops.cast(master.value, weight.dtype))

    @property
    def learning_rate(self):
        return self.inner_optimizer.learning_rate

    @property
    def iterations(self):
        return self.inner_optimizer.iterations

    def get_config(self):
        inner = keras.saving.serialize_keras_object(self.inner_optimizer)
        return {"name": self.name, "inner_optimizer": inner}

    @classmethod
    def from_config(cls, config):
        inner = keras.saving.deserialize_keras_object(config["inner_optimizer"])
        return cls(inner, config["name"])


def make_optimizer(
    train: TrainFields, learning_rate: float, total_steps: int, weight_decay: float
) -> keras.optimizers.Optimizer:
    """Make the configured optimizer for a phase.

    Args:
        train: optimizer, schedule and clipping.
        learning_rate: the highest one, after the warm-up.
        total_steps: after which the rate is 0.
        weight_decay: decoupled, per step and rate.
    """
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
    if train.master_weights and keras.config.dtype_policy().variable_dtype == "bfloat16":
        return MasterWeights(optimizer)
    if keras.config.dtype_policy().compute_dtype == "float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer
