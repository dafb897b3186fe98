"""Kill training at random steps and start it again, until it ends; run inside a project.

    python kill_again_and_again.py KILLS [words of train]

Prints, as JSON, the summaries of a run that was left alone and of the one that was killed, whether
their metrics agree, and how often it was killed. Processes are forked from one that has imported
everything: a fresh one would take ten seconds to get to its first step.
"""

import json
import multiprocessing
import os
import random
import signal
import sys
import time
from pathlib import Path

RUNS = Path("runs")


def train(words: list[str]) -> None:
    with Path("train.out").open("a") as out:
        os.dup2(out.fileno(), 1)
        os.dup2(out.fileno(), 2)
        from demo.__main__ import train as main

        os._exit(main(words))


def lines(run: Path) -> list[dict]:
    file = run / "metrics.jsonl"
    text = file.read_text() if file.is_file() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]


def newest() -> Path:
    return max(RUNS.iterdir(), key=lambda run: run.stat().st_ctime_ns)


def main() -> None:
    kills, words = int(sys.argv[1]), sys.argv[2:]
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["demo.train"])

    def started(*more: str) -> multiprocessing.Process:
        process = processes.Process(target=train, args=([*words, *more],))
        process.start()
        return process

    started("--fresh").join()
    (alone,) = RUNS.iterdir()
    steps = lines(alone)[-1]["step"]
    targets = sorted(random.Random(0).sample(range(1, steps), kills))
    process, killed = started("--fresh"), 0
    for target in targets:
        while process.is_alive() and (newest() == alone or not reached(newest(), target)):
            time.sleep(0.005)
        if process.is_alive():
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            killed += 1
            process = started()
    process.join()
    agree = [line["metrics"] for line in lines(alone)] == [
        line["metrics"] for line in lines(newest())
    ]
    ends = [json.loads((run / "summary.json").read_text()) for run in (alone, newest())]
    print(json.dumps({"summaries": ends, "metrics_agree": agree, "killed": killed}))


def reached(run: Path, step: int) -> bool:
    written = lines(run)
    return bool(written) and written[-1]["step"] >= step


if __name__ == "__main__":
    main()
