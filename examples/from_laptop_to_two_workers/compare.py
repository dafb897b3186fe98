"""Compare finished runs with the first one: weights bit by bit, and losses by step.

``python compare.py NAME=RUN …``
"""

import json
import sys
from pathlib import Path


def read_losses(run: Path) -> dict[int, float]:
    """Return the validation losses by step."""
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    key = "validation/loss"
    return {line["step"]: line["metrics"][key] for line in lines if key in line["metrics"]}


def main() -> None:
    """Print a line for each run, and write comparison.json."""
    runs = {name: Path("runs", run) for name, run in (word.split("=") for word in sys.argv[1:])}
    rows = []
    first = read_losses(next(iter(runs.values())))
    for name, run in runs.items():
        summary = json.loads((run / "summary.json").read_text())
        losses = read_losses(run)
        assert losses.keys() == first.keys(), "all runs measure at the same steps"
        rows.append(
            {
                "name": name,
                "run": run.name,
                "replicas": summary["replicas"],
                "resumed_from_step": summary["resumed_from_step"],
                "weights": summary["weights_sha256"][:16],
                "largest_difference": max(abs(losses[s] / first[s] - 1) for s in first),
                "accuracy": summary["metrics"]["test/accuracy"],
                "seconds": summary["seconds"]["fit"],
            }
        )
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    Path("comparison.json").write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
