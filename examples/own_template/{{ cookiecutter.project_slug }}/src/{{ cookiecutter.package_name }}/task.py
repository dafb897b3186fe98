"""Forecasting: the parts of this project, by the names of ``Task``."""

from functools import partial

from . import baselines, data, inputs, model, objective, prediction, preprocessing, registry, report
from .engine.interfaces import Task
from .engine.lookup import find_optional
from .engine.tracking import pyfunc

task = Task(
    name="forecaster",
    load=data.load,
    preprocessing=preprocessing.Preprocessing,
    build_model=model.build,
    losses=registry.LOSSES,
    metrics=registry.METRICS,
    callbacks=registry.CALLBACKS,
    measure=report.measure,
    weighted_metrics=report.weighted_metrics,
    slices=report.slices,
    describe_inputs=inputs.describe_inputs,
    parse_labels=inputs.parse_labels,
    postprocess=objective.postprocess,
    decode_predictions=objective.decode_predictions,
    predict=prediction.predict,
    format_predictions=prediction.format_predictions,
    signature=inputs.signature,
    example=inputs.example,
    request_schema=inputs.request_schema,
    read_requests=inputs.read_requests,
    measure_baselines=baselines.measure_baselines,
    draw_figures=report.draw,
    explain=find_optional("evaluation.explanations:explain"),
    sharding_rules=model.SHARDING_RULES,
    weights_from_data=model.WEIGHTS_FROM_DATA,
)

# MLflow calls it with the folder of a model that it serves (``mlflow models serve``).
_load_pyfunc = partial(pyfunc.load_model, task)
