"""Train a model: configure, load, build, fit, evaluate, record."""

import argparse
import logging
import sys
import time
from typing import Any

from . import distribution, logs, settings
from .config import Config, Parser, argument_parser, load_config
from .errors import ProjectError, UsageProblem, command
from .runs import Run, find_unfinished

log = logging.getLogger(__package__)


def train(config: Config, resume: Run | None = None, fresh: bool = False) -> dict[str, Any]:
    """Train as configured and return the run's summary.

    Everything is recorded in ``runs/<run id>/`` and in MLflow.

    Args:
        resume: an unfinished run to go on with; None: the newest one that was configured alike.
        fresh: start a new run in any case.

    Returns:
        The summary; of several workers the chief's, and nothing for the others.

    Raises:
        UsageProblem: the configuration cannot work here.
        DataProblem: the data is not what it must be.
        Diverged: loss or weights left the finite numbers.
        Interrupted: stopped from outside; the same call goes on from there.
    """
    began = time.perf_counter()
    distribution.prepare(config.runtime)
    # Only from here on is TensorFlow imported: `train --help` needs none of it. What is used after
    # training is imported now as well: a typo in it must not show after hours.
    from . import baselines, evaluate, fitting, inputs, recording, report, resuming, seeds
    from .artifact import Artifact
    from .data import load
    from .model import LAYOUT, settle
    from .preprocessing import Preprocessing

    seeds.set_seeds(config.train)
    devices = distribution.connect(config.runtime, LAYOUT)
    with distribution.worker_failures(devices.processes):
        data = load(config)
        preprocessing = Preprocessing.fit(data.train, config)
        core = fitting.build(config, preprocessing, devices)
        # What can be wrong with the request was found by now; from here on there is a run.
        begun = resuming.begin(config, data, devices, resume, fresh)
        run = begun.run
        if not devices.is_chief:
            fitting.fit(core, data, preprocessing, config, devices, run, begun.checkpoint)
            log.info("Weights of this worker: %s", Artifact(core, preprocessing).weights_sha256())
            devices.from_chief(None)  # the chief has saved the model
            return {}
    with begun.lock, logs.in_file(run.log_file), recording.recorded(config, run) as recorder:
        _introduce(run, config, data, devices)
        with distribution.worker_failures(devices.processes):
            fitted = fitting.fit(core, data, preprocessing, config, devices, run, begun.checkpoint)
        core = devices.local_copy(core)

        trained = settle(Artifact(core, preprocessing), data, config)
        trained.save(run.model_file)
        with distribution.worker_failures(devices.processes):
            devices.from_chief(None)
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
            "preprocessing": trained.preprocessing.notes(),
            "baselines": measured,
            "ahead": _ahead(metrics, measured),
            "examples_per_second": round(fitted.examples / fitted.seconds, 1),
            "seconds": {
                "total": round(time.perf_counter() - began, 2),
                "fit": round(fitted.seconds, 2),
            },
            "backend": devices.backend,
            "strategy": devices.name,
            "replicas": devices.replicas,
            "deterministic": seeds.is_deterministic(config.train),
            "parameters": trained.core.count_params(),
            "steps": fitted.steps,
            "resumed_from_step": begun.checkpoint and begun.checkpoint.state["step"],
            "weights_sha256": trained.weights_sha256(),
            "mlflow": None,
        }
        preprocessing = trained.preprocessing  # with what was settled
        signature = inputs.signature(preprocessing)
        recording.write_request(run, signature, inputs.example(data, preprocessing))
        report.conclude(run.report_dir, trained, data, summary, config)
        run.write_summary(summary)
        if recorder:
            recorder.finish("FINISHED")
            summary["mlflow"] = recorder.recorded()
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


def _ahead(metrics: dict[str, float], baselines: list[dict[str, Any]]) -> dict[str, Any] | None:
    """By how much the model is better than the best baseline, in the metric that matters most."""
    metric = next(iter(metrics))
    rivals = [row for row in baselines if metric in row["metrics"]]
    if not rivals:
        return None
    best = max(rivals, key=lambda row: row["metrics"][metric])
    by = metrics[metric] - best["metrics"][metric]
    return {"metric": metric, "of": best["name"], "by": round(by, 6)}


def _conclude(run: Run, summary: dict[str, Any]) -> None:
    rows = [{"name": summary["model"], "metrics": summary["metrics"]}, *summary["baselines"]]
    names = [n for n in summary["metrics"] if any(n in b["metrics"] for b in summary["baselines"])]
    width = max(len(row["name"]) for row in rows)
    log.info("")
    log.info("%s  %s", " " * width, "  ".join(names))
    for row in rows:
        values = [f"{row['metrics'].get(n, float('nan')):<{len(n)}.4f}" for n in names]
        log.info("%-*s  %s", width, row["name"], "  ".join(values).rstrip())
    if summary["ahead"]:
        ahead = summary["ahead"]
        place = "ahead of" if ahead["by"] > 0 else "no better than" if not ahead["by"] else "behind"
        points = f"{100 * abs(ahead['by']):.2f} points " if ahead["by"] else ""
        log.info("\nIn %s %s%s %s", ahead["metric"], points, place, ahead["of"])
    log.info("\nRun folder: %s", run.path)
    mlflow = summary["mlflow"]
    if mlflow is None or not mlflow["complete"]:
        return
    if mlflow["tracking_uri"].startswith("sqlite"):
        log.info("MLflow UI:  mlflow ui --backend-store-uri %s", mlflow["tracking_uri"])
    else:
        log.info("MLflow:     %s, run %s", mlflow["tracking_uri"], mlflow["run_id"])


def _flags() -> Parser:
    """The flags that are no fields: they say which run, not what is in it."""
    parser = Parser(prog="train", add_help=False, allow_abbrev=False)
    parser.add_argument(
        "--resume",
        metavar="latest|ID",
        help="go on with this unfinished run, as it was configured; without: with the newest one "
        "that has the same configuration and data",
    )
    parser.add_argument("--fresh", action="store_true", help="start a new run in any case")
    return parser


def split_flags(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """``--resume`` and ``--fresh``, and the words that are fields."""
    flags, words = _flags().parse_known_args(argv)
    if flags.resume and flags.fresh:
        raise UsageProblem("--fresh and --resume contradict each other.")
    return flags, words


@command
def main(argv: list[str]) -> None:
    """``train [--config FILE] [--section.field VALUE …] [--resume latest|ID | --fresh]``."""
    if {"-h", "--help"} & set(argv):
        argument_parser("train", parents=[_flags()]).print_help()
        return
    flags, words = split_flags(argv)
    resume = find_unfinished(flags.resume) if flags.resume else None
    try:
        with logs.on_console():
            train(load_config(words, base=resume and resume.config_file), resume, flags.fresh)
    except MemoryError as error:
        raise ProjectError("not enough memory; try a smaller data.batch_size.") from error


if __name__ == "__main__":
    sys.exit(main())
