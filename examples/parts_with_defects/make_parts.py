"""Photos of metal parts, rendered: good ones, and ones with a scratch, a hole or a stain.

    python make_parts.py FOLDER [--each 250] [--seed 0]

Writes ``FOLDER/photos/CLASS/NUMBER.jpg``, and for each defect ``FOLDER/masks/CLASS/NUMBER.png``,
which is white where the defect is. Shape, place, light, background, focus and noise vary in all
classes; the bolt holes of a part are no defect.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

CLASSES = ("good", "hole", "scratch", "stain")
SIZE = 160  # of a photo, in pixels
SCALE = 2  # rendered larger, then reduced: soft edges
# Of benches, mats and belts: red, green and blue, in [0, 1].
BACKGROUNDS = ((0.47, 0.36, 0.26), (0.30, 0.33, 0.36), (0.20, 0.30, 0.40), (0.55, 0.54, 0.50))
STAINS = ((0.32, 0.20, 0.10), (0.42, 0.22, 0.08), (0.16, 0.17, 0.24))  # rust, oil


class Part:
    """A plate or a disc with bolt holes.

    Args:
        random: generator to draw its shape, place and angle from.
    """

    def __init__(self, random: np.random.Generator) -> None:
        row, column = np.mgrid[0 : SIZE * SCALE, 0 : SIZE * SCALE] / (SIZE * SCALE / 2) - 1.0
        angle = random.uniform(0, 2 * np.pi)
        size = random.uniform(0.68, 0.86)
        dx, dy = random.uniform(-0.1, 0.1, 2)
        x, y = (column - dx) / size, (row - dy) / size
        # Coordinates in the part's own frame, in which it spans -1 to 1.
        self.x = np.cos(angle) * x + np.sin(angle) * y
        self.y = -np.sin(angle) * x + np.cos(angle) * y
        self.is_round = random.random() < 0.5
        if self.is_round:
            turn = random.uniform(0, np.pi)
            angles = turn + np.linspace(0, 2 * np.pi, random.choice([4, 6]), endpoint=False)
            self.holes = [(0.7 * np.cos(a), 0.7 * np.sin(a), 0.09) for a in angles]
            self.holes.append((0.0, 0.0, random.uniform(0.16, 0.24)))
            self.height = 1.0
        else:
            self.height = random.uniform(0.55, 0.75)
            corner = (0.8, self.height - 0.2)
            self.holes = [(i * corner[0], j * corner[1], 0.09) for i in (-1, 1) for j in (-1, 1)]
        self.distance = self._outer_distance(self.x, self.y)  # inside: negative
        for cx, cy, radius in self.holes:
            self.distance = np.maximum(self.distance, radius - np.hypot(self.x - cx, self.y - cy))

    def _outer_distance(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if self.is_round:
            return np.hypot(x, y) - 1
        radius = 0.14
        qx, qy = np.abs(x) - (1 - radius), np.abs(y) - (self.height - radius)
        outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
        return outside + np.minimum(np.maximum(qx, qy), 0) - radius

    def draw_place(self, random: np.random.Generator, margin: float) -> tuple[float, float]:
        """Return a point of the surface that is ``margin`` away from edges and holes."""
        inside = np.flatnonzero(self.distance.ravel() < -margin)
        position = random.choice(inside)
        return float(self.x.ravel()[position]), float(self.y.ravel()[position])


def blur(values: np.ndarray, radius: float) -> np.ndarray:
    """Blur an array (height, width) of floats."""
    low, high = float(values.min()), float(values.max())
    if high == low:
        return values
    image = Image.fromarray(((values - low) / (high - low) * 255).astype("uint8"))
    smooth = np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), "float64") / 255
    return smooth * (high - low) + low


def draw_clouds(random: np.random.Generator, cells: int) -> np.ndarray:
    """Return smooth noise in [-1, 1], with about ``cells`` bumps along each side."""
    grid = random.uniform(0, 255, (cells + 3, cells + 3)).astype("uint8")
    size = (SIZE * SCALE, SIZE * SCALE)
    return np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)) / 127.5 - 1


def soft(distance: np.ndarray, width: float = 0.012) -> np.ndarray:
    """Return 1 inside, 0 outside, with a soft edge."""
    return np.clip(0.5 - distance / width, 0, 1)


def draw_background(random: np.random.Generator) -> np.ndarray:
    """A bench, a mat or a belt."""
    colour = np.array(BACKGROUNDS[random.integers(len(BACKGROUNDS))]) * random.uniform(0.8, 1.2)
    texture = 0.05 * draw_clouds(random, 5) + 0.04 * draw_clouds(random, 30)
    return colour * (1 + texture[..., None])


def draw_metal(part: Part, random: np.random.Generator, light: float) -> np.ndarray:
    """Brushed metal with a broad reflection and a bevelled edge."""
    base = random.uniform(0.50, 0.66)
    across = part.x if part.is_round and random.random() < 0.5 else part.y
    lines = random.normal(0, 1, 400)
    lines = np.convolve(lines, [0.25, 0.5, 0.25], "same")
    brushed = lines[np.clip((across + 1.5) / 3 * 400, 0, 399).astype(int)]
    along = np.cos(light) * part.x + np.sin(light) * part.y
    reflection = np.exp(-(((along - random.uniform(-0.8, 0.8)) / random.uniform(0.3, 0.7)) ** 2))
    slope_y, slope_x = np.gradient(part.distance)
    bevel = np.clip(1 + part.distance / 0.05, 0, 1)
    facing = slope_x * np.cos(light) + slope_y * np.sin(light)
    facing = facing / (np.abs(facing).max() + 1e-9)
    grey = base + 0.022 * brushed + 0.20 * reflection + 0.16 * bevel * facing
    grey = grey + 0.03 * draw_clouds(random, 6)
    tint = 1 + random.uniform(-0.03, 0.03, 3)
    return grey[..., None] * tint


def add_scratch(
    metal: np.ndarray, part: Part, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One bent line: a dark groove with a bright side."""
    cx, cy = part.draw_place(random, 0.15)
    angle, length = random.uniform(0, np.pi), random.uniform(0.35, 0.8)
    u = np.cos(angle) * (part.x - cx) + np.sin(angle) * (part.y - cy)
    v = -np.sin(angle) * (part.x - cx) + np.cos(angle) * (part.y - cy)
    v = v - random.uniform(-0.4, 0.4) * u**2 - 0.01 * np.sin(u * random.uniform(8, 20))
    width = random.uniform(0.016, 0.030)
    ends = soft(np.abs(u) - length / 2, 0.1)
    groove = np.exp(-((v / width) ** 2)) * ends
    side = np.exp(-(((v - 1.6 * width) / width) ** 2)) * ends
    strength = random.uniform(0.28, 0.48)
    metal = metal - strength * groove[..., None] + 0.75 * strength * side[..., None]
    return metal, np.maximum(groove, side) > 0.3


def add_hole(
    metal: np.ndarray, part: Part, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A pit with a ragged edge: smaller than a bolt hole, and not round."""
    cx, cy = part.draw_place(random, 0.14)
    radius = random.uniform(0.055, 0.095)
    dx, dy = part.x - cx, part.y - cy
    around = np.arctan2(dy, dx)
    turn = random.uniform(0, 2 * np.pi, 2)
    ragged = 1 + 0.18 * np.sin(3 * around + turn[0]) + 0.10 * np.sin(7 * around + turn[1])
    distance = np.hypot(dx, dy) - radius * ragged
    rim = np.exp(-((distance / 0.025) ** 2)) * (distance > 0)
    inside = soft(distance, 0.02)[..., None]
    dark = random.uniform(0.06, 0.16)
    metal = (metal + 0.14 * rim[..., None]) * (1 - inside) + dark * inside
    return metal, distance < 0.02


def add_stain(
    metal: np.ndarray, part: Part, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A blot of rust or oil with a darker edge."""
    cx, cy = part.draw_place(random, 0.12)
    radius = random.uniform(0.14, 0.28)
    bumps = 0.35 * draw_clouds(random, 7) + 0.15 * draw_clouds(random, 18)
    distance = np.hypot(part.x - cx, part.y - cy) / radius - 1 + bumps
    amount = soft(distance, 0.5) * random.uniform(0.35, 0.65)
    amount = amount + 0.2 * np.exp(-((distance / 0.15) ** 2))
    amount = np.clip(amount, 0, 0.85)[..., None]
    colour = np.array(STAINS[random.integers(len(STAINS))])
    stained = metal * (1 - amount) + (0.5 * metal * colour / colour.max() + 0.5 * colour) * amount
    return stained, distance < 0.1


DEFECTS = {"hole": add_hole, "scratch": add_scratch, "stain": add_stain}


def draw_photo(name: str, random: np.random.Generator) -> tuple[Image.Image, Image.Image | None]:
    """Return a photo of a part of class ``name``, and the mask of its defect."""
    part, light = Part(random), random.uniform(0, 2 * np.pi)
    surface = soft(part.distance)
    metal, defect = draw_metal(part, random, light), None
    if name in DEFECTS:
        metal, defect = DEFECTS[name](metal, part, random)
        defect = defect & (part.distance < 0)
    shift = random.integers(3, 9) * np.array([-np.sin(light), -np.cos(light)])
    shadow = np.roll(surface, shift.astype(int), (0, 1))
    shadow = blur(shadow, random.uniform(3, 7)) * random.uniform(0.35, 0.6)
    scene = draw_background(random) * (1 - shadow[..., None])
    scene = scene * (1 - surface[..., None]) + metal * surface[..., None]
    return _take(scene, random), _reduce(defect)


def _take(scene: np.ndarray, random: np.random.Generator) -> Image.Image:
    """Light, exposure, white balance, focus and noise of a cheap camera."""
    row, column = np.mgrid[0 : SIZE * SCALE, 0 : SIZE * SCALE] / (SIZE * SCALE / 2) - 1.0
    slope = random.uniform(-0.14, 0.14, 2)
    scene = scene * (1 + slope[0] * row + slope[1] * column)[..., None]
    scene = scene * random.uniform(0.78, 1.2) * (1 + random.uniform(-0.06, 0.06, 3))
    image = Image.fromarray((scene.clip(0, 1) * 255).astype("uint8"))
    image = image.filter(ImageFilter.GaussianBlur(random.uniform(0, 0.9)))
    image = image.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    noisy = np.asarray(image, "float64") + random.normal(0, random.uniform(1, 5), (SIZE, SIZE, 3))
    return Image.fromarray(noisy.clip(0, 255).astype("uint8"))


def _reduce(defect: np.ndarray | None) -> Image.Image | None:
    if defect is None:
        return None
    # Nothing of a thin scratch is lost: a pixel counts if any part of it is defective.
    blocks = defect.reshape(SIZE, SCALE, SIZE, SCALE).any(axis=(1, 3))
    return Image.fromarray((blocks * 255).astype("uint8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--each", type=int, default=250, help="photos of each class (250)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in CLASSES:
        photos, masks = (options.folder / kind / name for kind in ("photos", "masks"))
        photos.mkdir(parents=True, exist_ok=True)
        for number in range(options.each):
            random = np.random.default_rng((options.seed, CLASSES.index(name), number))
            photo, mask = draw_photo(name, random)
            photo.save(photos / f"{number:04d}.jpg", quality=int(random.integers(82, 95)))
            if mask:
                masks.mkdir(parents=True, exist_ok=True)
                mask.save(masks / f"{number:04d}.png")
    print(f"{len(CLASSES) * options.each} photos in {options.folder / 'photos'}")


if __name__ == "__main__":
    main()
