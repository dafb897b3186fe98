"""Run an exported LiteRT model on a device: it needs numpy and ai-edge-litert, nothing else.

python run.py FOLDER [INPUTS.npz]

FOLDER is what `export --format litert` wrote. The inputs are prepared ones, by the names that its
README lists; without a file, those of its example, whose outputs are compared.
"""

import json
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main(folder: Path, file: Path) -> None:
    """Print the outputs for the inputs in a file."""
    run = Interpreter(model_path=str(folder / "model.tflite")).get_signature_runner()
    inputs = dict(np.load(file))
    expected = inputs.pop("outputs", None)
    (outputs,) = run(**inputs)["outputs"]
    labels = folder / "labels.json"
    names = json.loads(labels.read_text("utf-8")) if labels.exists() else range(len(outputs))
    for score, name in sorted(zip(outputs, names, strict=True), reverse=True)[:5]:
        print(f"{score:10.4f}  {name}")
    if expected is not None:
        print(f"differs from the trained model by up to {np.abs(outputs - expected[0]).max():.2g}")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    main(place, Path(sys.argv[2]) if len(sys.argv) > 2 else place / "example_input.npz")
