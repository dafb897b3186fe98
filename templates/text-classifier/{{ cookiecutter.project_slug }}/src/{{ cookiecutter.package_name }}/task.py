"""Text classification: the parts of this project, by the names of ``Task``."""

from functools import partial

from . import baselines, data, inputs, model, objective, prediction, preprocessing, registry, report
from .engine.interfaces import Task
from .engine.lookup import find_optional
from .engine.tracking import pyfunc
from .evaluation import monitoring, slices

task = Task(
    name="text-classifier",
    load=data.load,
    preprocessing=preprocessing.Preprocessing,
    build_model=model.build,
    losses=registry.LOSSES,
    metrics=registry.METRICS,
    callbacks=registry.CALLBACKS,
    measure=report.measure,
    weighted_metrics=report.weighted_metrics,
    slices=slices.describe,
    read_columns=slices.read_columns,
    describe_inputs=monitoring.describe_inputs,
    read_file=monitoring.read_file,
    decode_predictions=objective.decode_predictions,
    predict=prediction.predict,
    format_predictions=prediction.format_predictions,
    signature=inputs.signature,
    example=inputs.example,
    request_schema=inputs.request_schema,
    read_requests=inputs.read_requests,
    measure_baselines=baselines.measure,
    simple_inputs=baselines.simple_inputs,
    draw_figures=report.draw,
    inspect=find_optional("inspection.texts:inspect"),
    explain=find_optional("evaluation.explanations:explain"),
    sharding_rules=model.SHARDING_RULES,
    augment=preprocessing.augment,
    phases=model.phases,
    sample_weights=objective.sample_weights,
    vocabularies=model.vocabularies,
    finalize=model.finalize,
    weights_from_data=model.WEIGHTS_FROM_DATA,
    requirements=("tokenizers", "keras-hub"),
)

# MLflow calls it with the folder of a model that it serves (``mlflow models serve``).
_load_pyfunc = partial(pyfunc.load_model, task)
