"""Makes a folder of JPEG files in two classes; runs in a project's environment.

    python jpegs.py FOLDER COUNT

Their size is that of photographs: coarse colours, fine noise, and a shape that is the class.
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf

HEIGHT, WIDTH = 240, 320
CLASSES = ("square", "bar")


def picture(label: str, random: np.random.Generator) -> np.ndarray:
    """Pixels (height, width, 3) uint8 of one image."""
    colours = random.integers(0, 256, (HEIGHT // 16, WIDTH // 16, 3))
    pixels = colours.repeat(16, axis=0).repeat(16, axis=1)
    pixels = pixels + random.integers(-12, 13, pixels.shape)
    height, width = (96, 96) if label == "square" else (32, 192)
    top, left = random.integers(0, HEIGHT - height), random.integers(0, WIDTH - width)
    pixels[top : top + height, left : left + width] = random.integers(0, 256, 3)
    return np.clip(pixels, 0, 255).astype("uint8")


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    random = np.random.default_rng(0)
    for label in CLASSES:
        (folder / label).mkdir(parents=True)
    for number in range(count):
        label = CLASSES[number % len(CLASSES)]
        encoded = tf.io.encode_jpeg(picture(label, random), quality=90)
        (folder / label / f"{number:05d}.jpg").write_bytes(encoded.numpy())


if __name__ == "__main__":
    main()
