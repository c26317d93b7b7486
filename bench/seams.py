"""Seams: an autoencoder by cells and a U-Net by tiles against the whole at once, on photographs."""

from collections.abc import Callable, Iterator
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bench.children import call
from bench.report import Table

if TYPE_CHECKING:
    from torch import Tensor

    from ops.rescalers.passes import Passes
    from ops.rescalers.tiles import Grid

# What a border of a latent is, in pixels: a step there is compared with those at other borders of latents.
FACTOR = 8


class Settings(Struct, frozen=True, kw_only=True):
    """Photographs, resized and cropped to `pixels` (width, height), each side a multiple of every cell.

    `cells` are pixels, `tile` and `overlap` latents; `noise` is what the U-Net is to remove, in deviations of latents.
    Small networks are trained for `steps` on batches of square crops of all samples, and seen on `num_images`; random
    ones on `num_random`.
    """

    num_images: int = 3
    num_random: int = 1
    pixels: tuple[int, int] = (2048, 1024)
    cells: tuple[tuple[int, int], ...] = ((512, 128), (1024, 128))
    tile: int = 96
    overlap: int = 32
    noise: float = 0.3
    steps: int = 800
    batch: int = 8
    crop: int = 64


QUICK = Settings(
    num_images=1, num_random=1, pixels=(384, 192), cells=((192, 64),), tile=24, overlap=8, steps=2, batch=2, crop=64
)


class Seen(NamedTuple):
    """One way to run a network over one photograph, against the whole: levels, and energies at its borders."""

    what: str
    how: str
    largest: float
    mean: float
    seam: float | None = None
    seam_of_whole: float | None = None


def measure(settings: Settings) -> list[Table]:
    """Compare on random weights and on trained ones."""
    answer = call("seams:run_seams", {"settings": msgspec.to_builtins(settings)})
    rows = [[weights, *row] for weights, seen in answer["seen"].items() for row in _pooled(seen)]
    return [
        Table(
            title="Cells and tiles against the whole at once, small networks",
            columns=["weights", "what", "how", "largest", "mean", "seam energy", "of the whole there"],
            rows=rows,
            notes=[
                f"{settings.pixels[0]}x{settings.pixels[1]} pixels of {settings.num_images} photographs (random "
                f"weights: {settings.num_random}); differences in levels of 255, latents decoded at once",
                "seam energy: mean step across edges of cells or tiles over the mean step across other borders of "
                "latents; 1: no seam; pasted: no overlap, the later over the earlier",
                f"trained: {settings.steps} steps by L1 on all six photographs, {answer['seconds']:.0f} s, seeded; "
                f"reconstructs them with {answer['psnr']:.1f} dB; the U-Net removes noise of {settings.noise} "
                "deviations of latents",
            ],
        )
    ]


def _pooled(seen: list[list[Any]]) -> Iterator[list[Any]]:
    """Yield one row for each way: the largest of largest differences, means of all else."""
    ways: dict[tuple[str, str], list[list[Any]]] = {}
    for one in seen:
        ways.setdefault((one[0], one[1]), []).append(one)
    for (what, how), ones in ways.items():
        seams = [f"{fmean(one[at] for one in ones):.3f}" if ones[0][at] is not None else "" for at in (4, 5)]
        yield [what, how, max(one[2] for one in ones), fmean(one[3] for one in ones), *seams]


def run_seams(settings: dict[str, Any]) -> dict[str, Any]:
    """Train small networks, and compare (a child)."""
    import torch  # noqa: PLC0415
    from torch.nn.functional import mse_loss  # noqa: PLC0415

    from bench.training import small_system, train  # noqa: PLC0415
    from ops.networks.vae_strips import decode, encode_moments  # noqa: PLC0415

    torch.set_num_threads(1)  # more would train to other last bits
    asked = msgspec.convert(settings, Settings)
    photographs = _photographs(asked)
    seconds = train(trained := small_system(0), photographs, asked)
    seen: dict[str, list[Seen]] = {"random": [], "trained": []}
    errors = []
    with torch.inference_mode():
        for x in photographs[: asked.num_images]:
            errors.append(mse_loss(decode(trained.vae, encode_moments(trained.vae, x)[0]).clamp(-1, 1), x) / 4)
            seen["trained"] += _seen(trained, x, asked)
        for x in photographs[: asked.num_random]:
            seen["random"] += _seen(small_system(1), x, asked)
    psnr = -10 * torch.stack(errors).log10().mean()
    return {"seen": seen, "psnr": float(psnr), "seconds": seconds}


def _photographs(asked: Settings) -> "list[Tensor]":
    import numpy as np  # noqa: PLC0415
    from PIL import ImageOps  # noqa: PLC0415

    from bench.photographs import load_samples  # noqa: PLC0415
    from ops.rescalers.levels import from_levels  # noqa: PLC0415

    fitted = [ImageOps.fit(sample, asked.pixels) for sample in load_samples()]
    return [from_levels(np.asarray(one)) for one in fitted]


def _seen(system: Any, x: "Tensor", asked: Settings) -> Iterator[Seen]:
    """Yield comparisons of one photograph (1, 3, h, w)."""
    from ops.networks.vae_strips import decode, encode_moments  # noqa: PLC0415

    def decoded(z: "Tensor") -> "Tensor":
        return decode(system.vae, z).clamp(-1, 1)

    z = encode_moments(system.vae, x)[0]
    whole = decoded(z)
    yield Seen("VAE encode", "diffusers, whole", *levels_apart(decoded(system.vae.encode(x).latent_dist.mode()), whole))
    yield Seen("VAE decode", "diffusers, whole", *levels_apart(system.vae.decode(z).sample.clamp(-1, 1), whole))
    height, width = x.shape[2:]
    for cell, overlap in asked.cells:
        for how, wide in ((f"cells {cell}, pasted", 0), (f"cells {cell}/{overlap}, faded", overlap)):
            cells = _alone(system, cell, wide)
            at = edges(cells.cells(height // FACTOR, width // FACTOR))
            yield _compared("VAE encode", how, decoded(cells.encoded(x)), whole, at)
            yield _compared("VAE decode", how, cells.up(z, height, width), whole, at)
    yield from _unet(system, z, decoded, asked)


def _unet(system: Any, z: "Tensor", decoded: "Callable[[Tensor], Tensor]", asked: Settings) -> Iterator[Seen]:
    """Yield comparisons of the U-Net, which removes noise from latents."""
    import torch  # noqa: PLC0415

    from ops.networks.stable_diffusion import SCALING  # noqa: PLC0415

    noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    c = z * SCALING
    c = c + noise * asked.noise * c.std()
    size = z.shape[2:]
    passes: Passes = replace(system.passes, tile=max(size), overlap=0)
    whole = decoded(_denoised(system, c, passes)[0] / SCALING)
    ways = [
        ("pasted", replace(passes, tile=asked.tile)),
        ("faded", replace(passes, tile=asked.tile, overlap=asked.overlap)),
        ("official", replace(passes, tile=asked.tile, overlap=asked.overlap, tiling="official")),
    ]
    for name, way in ways:
        clean, grid = _denoised(system, c, way, pasted=name == "pasted")
        how = f"tiles {way.tile}/{way.overlap}, {name}"
        yield _compared("U-Net", how, decoded(clean / SCALING), whole, edges(grid))


def _denoised(system: Any, c: "Tensor", passes: "Passes", *, pasted: bool = False) -> "tuple[Tensor, Grid]":
    """Return clean scaled latents of noisy ones, and the tiles that they went by."""
    import torch  # noqa: PLC0415

    from ops.rescalers.growing import Growing, Plane, denoise_all  # noqa: PLC0415

    height, width = c.shape[2] * FACTOR, c.shape[3] * FACTOR
    y = torch.zeros((1, 3, height // system.scale, width // system.scale))
    system.passes = passes
    system.grow = lambda _: c
    plane = Plane(system, Growing(y, height, width))
    grid = system.tiles(*c.shape[2:])
    if not pasted:
        denoise_all(system, [plane])
        return plane.merged.result(), grid
    clean = torch.empty_like(c)
    for tile in grid.tiles():
        tile.of(clean)[:] = system.denoise(tile.of(c), plane.beneath(tile))[0]
    return clean, grid


def _alone(system: Any, cell: int, overlap: int) -> Any:
    """Return a system's autoencoder alone, over cells."""
    from ops.networks.stable_diffusion import VaeShape  # noqa: PLC0415
    from ops.rescalers.autoencoder import Autoencoder  # noqa: PLC0415

    alone = Autoencoder(VaeShape.small(), replace(system.passes, cell=cell, cell_overlap=overlap))
    alone.vae = system.vae
    return alone


def edges(grid: "Grid") -> tuple[list[int], list[int]]:
    """Return the rows and columns of pixels at which a cell or tile begins or ends, but for the plane's own borders."""
    rows = {side for top in grid.tops for side in (top, top + grid.tile_height)} - {0, grid.height}
    columns = {side for left in grid.lefts for side in (left, left + grid.tile_width)} - {0, grid.width}
    return sorted(row * FACTOR for row in rows), sorted(column * FACTOR for column in columns)


def _compared(what: str, how: str, made: "Tensor", whole: "Tensor", at: tuple[list[int], list[int]]) -> Seen:
    return Seen(what, how, *levels_apart(made, whole), seam_energy(made, *at), seam_energy(whole, *at))


def levels_apart(made: "Tensor", whole: "Tensor") -> tuple[float, float]:
    """Return the largest and the mean difference of two images, in levels of 255."""
    difference = (made - whole).abs() * 127.5
    return float(difference.max()), float(difference.mean())


def seam_energy(image: "Tensor", rows: list[int], columns: list[int]) -> float:
    """Return the mean absolute step of (1, c, h, w) into these rows and columns over that into other multiples of 8.

    A decoder's steps differ within a latent, so that others are no measure. Where there are no edges it is 1.
    """
    import torch  # noqa: PLC0415

    at_edges, elsewhere = [], []
    for axis, edges in ((2, rows), (3, columns)):
        steps = image.diff(dim=axis).abs().mean(dim=tuple({0, 1, 2, 3} - {axis}))
        for at in range(FACTOR, image.shape[axis], FACTOR):
            (at_edges if at in edges else elsewhere).append(steps[at - 1])
    if not at_edges:
        return 1.0
    return float(torch.stack(at_edges).mean() / torch.stack(elsewhere).mean())
