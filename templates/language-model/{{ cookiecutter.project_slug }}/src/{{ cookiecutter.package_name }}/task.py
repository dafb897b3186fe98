"""Language modelling: the parts of this project, by the names of ``Task``."""

from functools import partial

from . import baselines, data, inputs, model, objective, prediction, preprocessing, registry, report
from .engine.interfaces import Task
from .engine.lookup import find_optional
from .engine.tracking import pyfunc
from .evaluation import monitoring, slices

task = Task(
    name="language-model",
    load=data.load,
    preprocessing=preprocessing.Preprocessing,
    build_model=model.build,
    losses=registry.LOSSES,
    metrics=registry.METRICS,
    callbacks=registry.CALLBACKS,
    make_batch=objective.make_batch,
    infer=model.infer,
    measure=report.measure,
    weighted_metrics=report.weighted_metrics,
    lower_is_better=report.LOWER_IS_BETTER,
    slices=slices.describe,
    read_columns=slices.read_columns,
    describe_inputs=monitoring.describe_inputs,
    decode_predictions=objective.decode_predictions,
    respond=prediction.respond,
    make_writer=find_optional("generation.writer:make_writer"),
    predict=prediction.predict,
    format_predictions=prediction.format_predictions,
    signature=inputs.signature,
    example=inputs.example,
    request_schema=inputs.request_schema,
    read_requests=inputs.read_requests,
    measure_baselines=baselines.measure,
    draw_figures=report.draw,
    write_report=report.write,
    inspect=find_optional("inspection.texts:inspect"),
    sharding_rules=model.SHARDING_RULES,
    phases=model.phases,
    finalize=objective.finalize,
    vocabularies=model.vocabularies,
    frozen_weights=model.frozen_weights,
    requirements=("tokenizers", "keras-hub", "jinja2"),
)

# MLflow calls it with the folder of a model that it serves (``mlflow models serve``).
_load_pyfunc = partial(pyfunc.load_model, task)
