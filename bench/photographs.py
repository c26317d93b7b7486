"""Source images for the benchmarks: seeded mosaics of crops of photos/samples, with the detail of photographs."""

import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

SAMPLES = Path(__file__).parent.parent / "photos" / "samples"
QUALITY = 90
# Sides of 2, 3, 4, 6, 8 and 12 megapixels, as cameras and phones make them.
SIZES = ((1632, 1224), (2000, 1500), (2304, 1728), (3000, 2000), (3264, 2448), (4000, 3000))
_TILE = 1000


def make_photographs(folder: Path, number: int, sizes: Sequence[tuple[int, int]] = SIZES) -> None:
    """Fill a folder with numbered JPEGs of quality 90, sizes in turn; those that are there already stay.

    The same number and sizes give the same files.
    """
    samples = load_samples()
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        path = folder / f"{index:05d}.jpg"
        if not path.exists():
            mosaic(samples, sizes[index % len(sizes)], seed=index).save(path, quality=QUALITY)


def load_samples() -> list[Image.Image]:
    """Return the sample photographs."""
    return [Image.open(path).convert("RGB") for path in sorted(SAMPLES.glob("*.jpg"))]


def mosaic(samples: Sequence[Image.Image], size: tuple[int, int], seed: int) -> Image.Image:
    """Return an image of a size (width, height) laid with crops of 1000 x 1000 at their own resolution."""
    chance = random.Random(seed)
    canvas = Image.new("RGB", size)
    for top in range(0, size[1], _TILE):
        for left in range(0, size[0], _TILE):
            sample = chance.choice(samples)
            x, y = chance.randrange(sample.width - _TILE), chance.randrange(sample.height - _TILE)
            tile = sample.crop((x, y, x + _TILE, y + _TILE))
            if chance.random() < 0.5:
                tile = tile.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            canvas.paste(tile, (left, top))
    return canvas


def link_copies(photographs: Path, folder: Path, number: int) -> None:
    """Fill a folder with as many hard links as asked for, to the photographs in turn, in subfolders of 200."""
    paths = sorted(photographs.glob("*.jpg"))
    for index in range(number):
        place = folder / f"{index // 200:05d}" / f"{index:08d}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.hardlink_to(paths[index % len(paths)])
