"""Train a model: configure, load, build, fit, evaluate, record."""

import logging
import sys
import time
from typing import Any

from . import distribution, logs, settings
from .config import Config, argument_parser, load_config
from .errors import ProjectError, command
from .runs import Run, start_run

log = logging.getLogger(__package__)


def train(config: Config) -> dict[str, Any]:
    """Train as configured and return the run's summary.

    Everything is recorded in ``runs/<run id>/`` and in MLflow.

    Raises:
        UsageProblem: the configuration cannot work here.
        DataProblem: the data is not what it must be.
        Diverged: the loss left the finite numbers.
    """
    began = time.perf_counter()
    distribution.prepare(config.runtime)
    # Only from here on is TensorFlow imported: `train --help` needs none of it.
    from . import baselines, evaluate, fitting, seeds
    from .artifact import Artifact
    from .data import load
    from .preprocessing import Preprocessing
    from .tracking import open_store, tracked

    deterministic = seeds.set_seeds(config.train)
    devices = distribution.connect(config.runtime)
    data = load(config)
    preprocessing = Preprocessing.fit(data.train, config)
    core = fitting.build(config, preprocessing, devices)
    open_store(config)
    # What can be wrong with the request was found by now; from here on there is a run.
    run = start_run(config)
    with logs.in_file(run.log_file), tracked(config, run) as tracker:
        _introduce(run, config, data, devices)
        tracker.log_configuration({"strategy": devices.name, "replicas": devices.replicas})
        tracker.log_data(data)

        fitted = fitting.fit(core, data, preprocessing, config, run, devices, tracker.log_metrics)

        trained = Artifact(core, preprocessing)
        trained.save(run.model_file)
        evaluate.check_reload(trained, run.model_file, data.test)
        metrics = evaluate.evaluate(trained, data, "test", config, run.report_dir)
        evaluate.draw_history(run)
        measured = baselines.measure(data, preprocessing, config)

        summary = {
            "run_id": run.id,
            "template": settings.TEMPLATE,
            "model": config.model.name,
            "metrics": metrics,
            "data": {
                "source": data.source,
                **data.sizes(),
                "duplicates": data.duplicates,
                "unreadable": len(data.unreadable),
                "digest": data.digest,
                **data.notes,
            },
            "baselines": measured,
            "examples_per_second": round(fitted.examples / fitted.seconds, 1),
            "seconds": {
                "total": round(time.perf_counter() - began, 2),
                "fit": round(fitted.seconds, 2),
            },
            "backend": config.runtime.backend,
            "strategy": devices.name,
            "replicas": devices.replicas,
            "deterministic": deterministic,
            "parameters": core.count_params(),
            "steps": fitted.steps,
            "resumed_from_step": None,
            "weights_sha256": trained.weights_sha256(),
            "mlflow": {"tracking_uri": tracker.shown_uri, "run_id": tracker.run_id},
        }
        run.write_summary(summary)
        tracker.log_metrics(metrics, fitted.steps)
        tracker.log_report()
        summary["mlflow"] |= tracker.log_model(data, preprocessing)
        run.write_summary(summary)
        _conclude(run, summary)
    return summary


def _introduce(run: Run, config: Config, data: Any, devices: Any) -> None:
    sizes = ", ".join(f"{count} {name}" for name, count in data.sizes().items())
    log.info("Run %s: %s", run.id, devices.why)
    log.info("Data %s: %s examples", data.source, sizes)
    if config.train.init_from:
        log.info("Starts from the weights of %s", config.train.init_from)
    if data.duplicates:
        log.info("Copies of other examples: %d; no two splits share one", data.duplicates)
    for example, reason in data.unreadable[:20]:
        log.warning("left out %s: %s", example, reason)
    if len(data.unreadable) > 20:
        log.warning("left out %d more unreadable files", len(data.unreadable) - 20)


def _conclude(run: Run, summary: dict[str, Any]) -> None:
    rows = [{"name": summary["model"], "metrics": summary["metrics"]}, *summary["baselines"]]
    names = [n for n in summary["metrics"] if any(n in b["metrics"] for b in summary["baselines"])]
    width = max(len(row["name"]) for row in rows)
    log.info("")
    log.info("%s  %s", " " * width, "  ".join(names))
    for row in rows:
        values = [f"{row['metrics'].get(n, float('nan')):<{len(n)}.4f}" for n in names]
        log.info("%-*s  %s", width, row["name"], "  ".join(values).rstrip())
    log.info("\nRun folder: %s", run.path)
    mlflow = summary["mlflow"]
    if mlflow["tracking_uri"].startswith("sqlite"):
        log.info("MLflow UI:  mlflow ui --backend-store-uri %s", mlflow["tracking_uri"])
    else:
        log.info("MLflow:     %s, run %s", mlflow["tracking_uri"], mlflow["run_id"])


@command
def main(argv: list[str]) -> None:
    """``train [--config FILE] [--section.field VALUE …]``."""
    if {"-h", "--help"} & set(argv):
        argument_parser("train").print_help()
        return
    try:
        with logs.on_console():
            train(load_config(argv))
    except MemoryError as error:
        raise ProjectError("not enough memory; try a smaller data.batch_size.") from error


if __name__ == "__main__":
    sys.exit(main())
