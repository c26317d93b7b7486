"""The part on predicted time-steps: what they are, how they spread, what they tell of errors, their maps."""

import numpy as np
from msgspec.structs import replace

from jobs.report.charts import heat
from jobs.report.drawing import shortened
from jobs.report.findings import Findings, GalleryImage
from jobs.report.gallery import picture_url, shrunk
from jobs.report.html import escaped, figure, section, table
from jobs.report.measured import Measured
from jobs.report.tables import Cell, Told
from jobs.report.timestep_charts import (
    DOTS,
    TIMESTEPS,
    gradient,
    scatter_chart,
    spread_chart,
    timestep_map,
)
from jobs.report.words import NONE, number
from jobs.tile_words import correlation_words
from ops.timesteps import FEWEST_TILES, HIGHEST, LOWEST, Correlation, TileMaps, correlate

ANCHOR, TITLE = "timesteps", "Predicted time-steps"
ABOUT = (
    f"A time-step is what a network predicts for each tile of an image, from {LOWEST:g} to {HIGHEST:g}: how much noise "
    "the diffusion model is to take the tile's latents to hold. It is no error and no measure of quality; how far it "
    "goes with the true error was measured here, and stands beside it everywhere."
)
NOTES = [
    "True error of the latents: root mean square difference between what the thumbnail gives back and the image's own, "
    "in units of the diffusion model. Error of pixels: root mean square over the tile, in levels of 255, from the map "
    "of 32 x 32 cells that is kept of each image, cells by the part that a tile covers.",
    f"Over the tiles of all images, which overlap; none below {FEWEST_TILES} tiles. Intervals are of resampled images, "
    "those of Spearman's with the ranks of all tiles, and none below 5 images.",
]


def timesteps_table(findings: Findings, measured: Measured) -> Told:
    """Return how time-steps spread and what they tell of errors, for each candidate that predicts them."""
    rows = [
        [
            Cell(text=name, small="untrained: they mean nothing" if name in findings.document.untrained else ""),
            Cell(text=f"{one.num_images:,}"),
            Cell(text=f"{one.num_tiles:,}"),
            Cell(text=number(one.median, 1), small=_between(one.lower_quartile, one.upper_quartile)),
            Cell(text=_between(one.lowest, one.highest)),
            _correlation_cell(one.latents),
            _correlation_cell(one.pixels),
        ]
        for name, one in measured.timesteps.items()
    ]
    headings = ["Codec", "Images", "Tiles", "Median, quartiles", "Lowest to highest"]
    return Told(
        title=TITLE,
        headings=[*headings, "Correlation with the true error of latents", "with the error of pixels"],
        groups=[rows] if rows else [],
        notes=[ABOUT, *NOTES, *_untrained(findings)],
    )


def timesteps_section(findings: Findings, measured: Measured) -> str:
    """Return the part as HTML; nothing where no candidate predicts time-steps."""
    if not findings.tiles:
        return ""
    warning = "".join(f'<p class="plainly">{escaped(line)}</p>' for line in _untrained(findings))
    plots = "".join(_plots(findings, measured))
    return section(
        ANCHOR,
        TITLE,
        warning,
        f"<p>{escaped(ABOUT)}</p>",
        table(replace(timesteps_table(findings, measured), notes=NOTES), heading=""),
        f'<div class="plots">{plots}</div>',
        *_maps(findings, measured),
    )


def _untrained(findings: Findings) -> list[str]:
    names = [name for name in findings.tiles if name in findings.document.untrained]
    if not names:
        return []
    verb = "has" if len(names) == 1 else "have"
    return [f"{', '.join(names)} {verb} untrained weights: these time-steps come of random numbers and mean nothing."]


def _plots(findings: Findings, measured: Measured) -> list[str]:
    drawn = [figure("Spread over all tiles, by codec", spread_chart(findings.tiles, measured.timesteps))]
    for name, tiles in findings.tiles.items():
        numbers = measured.timesteps[name]
        for errors, unit, found in (
            (tiles.errors, "true error of the latents", numbers.latents),
            (tiles.pixel_errors, "error of pixels, levels", numbers.pixels),
        ):
            said = f"Correlation: {correlation_words(found)}."
            if found.num_tiles > DOTS:
                said += " A part of the tiles is drawn, evenly."
            chart = scatter_chart(tiles.timesteps, errors, name, unit, said)
            words = f'<p class="note" style="margin:.25rem 0 0">{escaped(said)}</p>'
            drawn.append(figure(f"{shortened(name, 40)}: against the {unit}", chart + words) if chart else "")
    return drawn


def _maps(findings: Findings, measured: Measured) -> list[str]:
    """Return the maps of the gallery's images beside them, each with what was measured of it."""
    brightest = max(float(tiles.errors.max()) for tiles in findings.tiles.values()) or 1.0
    articles = [one for image in findings.gallery if (one := _article(image, findings, measured, brightest))]
    if not articles:
        return []
    legend = (
        f'<ul class="legend"><li><span class="ramp" style="background:{gradient(TIMESTEPS)}"></span>predicted '
        f"time-step, {LOWEST:g} to {HIGHEST:g}; not an error</li>"
        f'<li><span class="ramp" style="background:{gradient()}"></span>true error of the latents, 0 to '
        f"{number(brightest, 3)}</li></ul>"
    )
    note = '<p class="note">Each cell is a tile; tiles overlap, so that cells lie about where their tiles do.</p>'
    return ["<h3>Maps of tiles</h3>", legend, note, *articles]


def _article(image: GalleryImage, findings: Findings, measured: Measured, brightest: float) -> str:
    overview = image.overview if image.overview is not None else shrunk(image.reference)
    height, width = overview.shape[:2]
    size = f'width="{width}" height="{height}" style="width:{width}px;height:{height}px"'
    maps = ""
    for name, tiles in findings.tiles.items():
        if (found := tiles.of(image.key)) is None:
            continue
        maps += "<hr>" if maps else ""
        words = f"{name}: predicted time-step, {_between(found.timesteps.min(), found.timesteps.max())}"
        told = _told(found, measured.timesteps[name].latents)
        for title, url, said in (
            (words, timestep_map(found.timesteps), told),
            (f"{name}: true error of the latents, {_digits(found)}", heat(found.errors / brightest), ""),
        ):
            picture = f'<img class="tiles" src="{url}" {size} alt="{escaped(f"{title}, {image.key}")}">'
            small = f"<br>{escaped(said)}" if said else ""
            maps += f"<figure>{picture}<figcaption><b>{escaped(title)}</b>{small}</figcaption></figure>"
    if not maps:
        return ""
    original = f'<img src="{picture_url(overview)}" {size} alt="{escaped(f"original, {image.key}")}">'
    return (
        f'<article class="tilemaps"><h3><bdi>{escaped(image.key)}</bdi></h3><div class="crops">'
        f"<figure>{original}<figcaption><b>Original</b></figcaption></figure>{maps}</div></article>"
    )


def _told(found: TileMaps, everywhere: Correlation) -> str:
    """Return the correlation with the true error, of this image and of all."""
    timesteps, errors = (plane.ravel().astype(np.float64) for plane in (found.timesteps, found.errors))
    here = correlate(timesteps, errors, np.zeros(len(timesteps), np.int64))
    return (
        f"Correlation with the true error: {correlation_words(here)}; over all images: {correlation_words(everywhere)}."
    )


def _digits(found: TileMaps) -> str:
    return f"{number(float(found.errors.min()), 3)} to {number(float(found.errors.max()), 3)}"


def _between(low: float, high: float) -> str:
    return f"{number(float(low), 1)} to {number(float(high), 1)}"


def _correlation_cell(found: Correlation) -> Cell:
    if found.pearson is None:
        return Cell(text=NONE, small=correlation_words(found), mark="soft")
    return Cell(text=f"r = {number(found.pearson, 2)}", small=correlation_words(found))
