"""Draw some photos of each class side by side.

python draw_parts.py FOLDER PICTURE [--columns 6]
"""

import argparse
from pathlib import Path

from PIL import Image

GAP = 6  # pixels between photos


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="as make_parts.py has written it")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--columns", type=int, default=6, help="photos of each class (6)")
    options = parser.parse_args()
    rows = [
        sorted(folder.glob("*.jpg")) for folder in sorted((options.folder / "photos").iterdir())
    ]
    width, height = Image.open(rows[0][0]).size
    size = (options.columns * (width + GAP) - GAP, len(rows) * (height + GAP) - GAP)
    sheet = Image.new("RGB", size, "white")
    for row, files in enumerate(rows):
        for column, file in enumerate(files[: options.columns]):
            sheet.paste(Image.open(file), (column * (width + GAP), row * (height + GAP)))
    sheet.save(options.picture, quality=80)


if __name__ == "__main__":
    main()
