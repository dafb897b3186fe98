"""Building a model on the run's devices, and fitting it phase by phase."""

import logging
import time
from dataclasses import dataclass

import keras

from . import cache, objective
from .artifact import warm_start
from .callbacks import BestWeights, Journal, Sink, progress_bar
from .config import Config
from .contract import Data, Preprocessing
from .distribution import Devices
from .errors import UsageProblem
from .evaluate import find_artifact
from .model import build as build_model
from .model import phases, vocabularies
from .optimizers import make_optimizer
from .pipeline import ShuffledOrder, evaluation_batches, training_batches
from .preprocessing import augment
from .runs import Run

log = logging.getLogger(__package__)


@dataclass(frozen=True)
class Fitted:
    """What fitting came to: global steps, examples seen, and seconds that it took."""

    steps: int
    examples: int
    seconds: float


def build(config: Config, preprocessing: Preprocessing, devices: Devices) -> keras.Model:
    """The numeric core on the run's devices, from scratch or from earlier weights."""
    with devices.scope():
        core = build_model(config, preprocessing)
        if config.train.init_from:
            earlier = find_artifact(config.train.init_from, config, "train.init_from")[0]
            before, now = vocabularies(earlier.preprocessing), vocabularies(preprocessing)
            copied = warm_start(core, earlier, before, now)
            if copied == 0:
                raise UsageProblem(
                    f"train.init_from: {config.train.init_from!r} is of another model or input: "
                    f"it shares no layer with this {config.model.name!r}."
                )
    return core


def fit(
    core: keras.Model,
    data: Data,
    preprocessing: Preprocessing,
    config: Config,
    run: Run,
    devices: Devices,
    sink: Sink,
) -> Fitted:
    """Train the core in place; the weights with the best validation loss stay.

    Raises:
        Diverged: the loss left the finite numbers.
    """
    train_split, validation_split = (
        cache.prepared(split, preprocessing, config.data.cache, f"{data.digest}/{name}")
        for name, split in (("train", data.train), ("validation", data.validation))
    )
    batch_size = config.data.batch_size
    order = ShuffledOrder(len(train_split), batch_size, config.train.seed, devices.replicas)
    per_epoch = order.steps_per_epoch
    planned = phases(config)
    total = sum(phase.epochs for phase in planned) * per_epoch
    last_step = min(total, config.train.max_steps or total)
    epochs = -(-last_step // per_epoch)
    journal = Journal(run, config.train.log_every_steps, last_step, epochs, sink)
    weights = objective.example_weights(data.train.targets, preprocessing, config)
    validation = evaluation_batches(validation_split, preprocessing, batch_size=batch_size)
    best = BestWeights(core, config.train.early_stopping_patience)
    began = time.perf_counter()
    for phase in planned:
        if journal.step >= last_step:
            break
        phase_steps = min(phase.epochs * per_epoch, last_step - journal.step)
        phase.prepare(core)
        if len(planned) > 1:
            log.info("Phase %s: up to %d epochs", phase.name, phase.epochs)
        batches = training_batches(
            train_split,
            preprocessing,
            order=order,
            first_step=journal.step,
            last_step=last_step,
            augment=lambda prepared, seed: augment(prepared, seed, config),
            weights=weights,
        )
        with devices.scope():
            model = devices.training_model(
                core,
                batches,
                optimizer=make_optimizer(config.train, phase.learning_rate, phase_steps),
                loss=objective.loss(config, preprocessing),
                metrics=objective.metrics(config, preprocessing),
                jit_compile=False,  # XLA slows small models down on CPUs and takes long to compile
            )
        model.fit(
            batches,
            epochs=-(-phase_steps // per_epoch),
            steps_per_epoch=min(per_epoch, phase_steps),
            validation_data=validation,
            callbacks=[journal, best],
            shuffle=False,  # the batches are in their order already
            verbose=progress_bar(),
        )
    best.restore()
    seconds = time.perf_counter() - began
    whole, rest = divmod(journal.step, per_epoch)
    return Fitted(journal.step, whole * len(train_split) + rest * batch_size, seconds)
