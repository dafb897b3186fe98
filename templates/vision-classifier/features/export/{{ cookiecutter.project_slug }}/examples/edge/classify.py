"""Classify an image on a device: it needs numpy, pillow and ai-edge-litert, nothing else.

python classify.py FOLDER IMAGE

FOLDER is what `export --format litert` wrote.
"""

import json
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps


def main(folder: Path, image_file: Path) -> None:
    """Print the likeliest classes of an image with their probabilities."""
    settings = json.loads((folder / "preprocessing.json").read_text("utf-8"))
    size = (settings["width"], settings["height"])
    image = Image.open(image_file).convert("L" if settings["channels"] == 1 else "RGB")
    if settings["resize"] == "stretch":
        image = image.resize(size, Image.Resampling.BILINEAR)
    else:  # crop the middle, or pad with black
        fit = ImageOps.fit if settings["resize"] == "crop" else ImageOps.pad
        image = fit(image, size, Image.Resampling.BILINEAR)
    pixels = np.asarray(image, "float32").reshape(1, size[1], size[0], -1) / 255
    run = Interpreter(model_path=str(folder / "model.tflite")).get_signature_runner()
    (logits,) = run(image=pixels)["outputs"]
    scores = np.exp(logits - logits.max())
    scores /= scores.sum()
    for place in np.argsort(-scores)[:3]:
        print(f"{scores[place]:6.1%}  {settings['classes'][place]}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
