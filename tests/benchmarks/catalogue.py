"""How fast a recommender answers from a large catalogue; runs in the project's environment.

    python catalogue.py PACKAGE ITEMS USERS

Makes the project's default model for so many generated items, without training it, and prints as
JSON the seconds in which a full evaluation of so many users is done, and the median milliseconds
of the ten best for one user.
"""

import importlib
import json
import statistics
import sys
import time
from types import SimpleNamespace

import numpy as np

KNOWN = 50  # events of a user
ASKED = 100


def main() -> None:
    package, items, users = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    places = ("engine.artifact", "config", "inputs", "model", "preprocessing", "report", "task")
    module = {
        place.rpartition(".")[2]: importlib.import_module(f"{package}.{place}")
        for place in (*places, "networks.transitions")
    }
    random = np.random.default_rng(0)
    counts = np.sort(random.zipf(1.5, items))[::-1].clip(1, 10_000)
    names = tuple(f"i{number}" for number in range(items))
    drawn = random.choice(items, (users, KNOWN + 1), p=counts / counts.sum())
    first, second = drawn[:, :-1].ravel(), drawn[:, 1:].ravel()
    preprocessing = module["preprocessing"].Preprocessing(
        users=("somebody",),
        items=names,
        item_counts=tuple(map(int, counts)),
        recent_item_counts=tuple(map(int, counts)),
        max_history=KNOWN,
        exclude_seen=True,
        transitions=module["transitions"].Transitions.from_pairs(first, second, items),
    )
    config = module["config"].load_config([], environment={})
    network = module["model"].build(config, preprocessing)
    trained = module["artifact"].Artifact(network, preprocessing, module["task"].task)
    model = module["model"].finalize(trained, None, config)
    ids = np.array(names, dtype=object)[drawn]

    def recommend(rows: slice) -> np.ndarray:
        histories = [list(row[:-1]) for row in ids[rows]]
        users = [f"u{row}" for row in range(len(histories))]
        return model.predict_batch(module["inputs"].build_raw_inputs(users, histories))

    batch = config.data.batch_size
    recommend(slice(0, batch))
    start = time.perf_counter()
    outputs = np.concatenate([recommend(slice(row, row + batch)) for row in range(0, users, batch)])
    targets = np.empty(users, dtype=object)
    targets[:] = [(row[-1],) for row in ids]
    module["report"].measure(SimpleNamespace(targets=targets), outputs, preprocessing)
    seconds = time.perf_counter() - start
    each = []
    for row in range(ASKED):
        start = time.perf_counter()
        recommend(slice(row, row + 1))
        each.append(1000 * (time.perf_counter() - start))
    milliseconds = statistics.median(each[5:])
    print(json.dumps({"evaluation_seconds": seconds, "answer_milliseconds": milliseconds}))


if __name__ == "__main__":
    main()
