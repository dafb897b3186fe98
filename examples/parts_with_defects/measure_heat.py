"""Measure how much of the heat of Grad-CAM lies on the defect, and draw some of it.

    python measure_heat.py FOLDER EXPLAINED [--picture FILE]

``FOLDER`` is what ``make_parts.py`` has written; ``EXPLAINED`` what ``predict --json --explain``
says of its photos. Counted are defects that were recognized. The place of a defect is its mask,
widened by one cell of the heatmap, since a cell that touches the defect may be hot as a whole.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

PICTURE_SIZE = 200  # of a photo, in pixels


def load_mask(photo: Path, folder: Path, cells: int) -> np.ndarray:
    """Return the mask (height, width) of a photo's defect, widened by a cell."""
    mask = Image.open(folder / "masks" / photo.parent.name / f"{photo.stem}.png").convert("L")
    margin = mask.width // cells
    return np.asarray(mask.filter(ImageFilter.MaxFilter(2 * margin + 1))) > 0


def spread(grid: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Spread a heatmap (rows, columns) in [0, 1] over a photo of (width, height)."""
    image = Image.fromarray((grid * 255).astype("uint8"))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR), "float64") / 255


def measure(row: dict, folder: Path) -> tuple[float, float, bool]:
    """Return the share of heat on the defect, its share of the photo, and if the peak is there."""
    grid = np.array(row["explanation"]["heatmap"])
    mask = load_mask(Path(row["id"]), folder, len(grid))
    heat = spread(grid, mask.shape[::-1])
    peak = np.unravel_index(heat.argmax(), heat.shape)
    return float(heat[mask].sum() / heat.sum()), float(mask.mean()), bool(mask[peak])


def draw(rows: list[dict], file: Path) -> None:
    """Draw photos above their heatmaps."""
    size = (PICTURE_SIZE, PICTURE_SIZE)
    sheet = Image.new("RGB", (len(rows) * (PICTURE_SIZE + 8) - 8, 2 * PICTURE_SIZE + 8), "white")
    for position, row in enumerate(rows):
        photo = Image.open(row["id"]).convert("RGB").resize(size, Image.Resampling.LANCZOS)
        heat = spread(np.array(row["explanation"]["heatmap"]), size)[..., None]
        grey = np.asarray(photo.convert("L").convert("RGB"), "float64")
        hot = grey * (1 - 0.65 * heat) + np.array([255.0, 70.0, 0.0]) * 0.65 * heat
        left = position * (PICTURE_SIZE + 8)
        sheet.paste(photo, (left, 0))
        sheet.paste(Image.fromarray(hot.astype("uint8")), (left, PICTURE_SIZE + 8))
    sheet.save(file, quality=82)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("explained", type=Path)
    parser.add_argument("--picture", type=Path, help="draw two photos of each class of defects")
    options = parser.parse_args()
    rows = [json.loads(line) for line in options.explained.read_text("utf-8").splitlines()]
    print("defect    recognized  heat on it  its share of the photo  hottest place on it")
    drawn = []
    for name in ("hole", "scratch", "stain"):
        mine = [row for row in rows if Path(row["id"]).parent.name == name]
        right = [row for row in mine if row["prediction"] == name]
        found = [measure(row, options.folder) for row in right]
        heat, area, peak = np.mean(found, axis=0) if found else (np.nan,) * 3
        share = f"{len(right)} of {len(mine)}"
        print(f"{name:<9} {share:<11} {heat:<11.0%} {area:<23.0%} {peak:.0%}")
        drawn += right[:2]
    if options.picture and drawn:
        draw(drawn, options.picture)


if __name__ == "__main__":
    main()
