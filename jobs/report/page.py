"""report.html: one file that opens anywhere, offline: the verdict first, then everything it stands on."""

from jobs.page import GENERATIVE, INTERPOLATED
from jobs.report.accounts import (
    archive_table,
    counts_table,
    failures_table,
    parts_table,
    thumbnails_table,
    timings_table,
)
from jobs.report.charts import difference_chart, distribution_chart, error_maps, rate_chart, series
from jobs.report.exhibiting import gallery_section
from jobs.report.findings import Findings
from jobs.report.html import document, escaped, figure, section, table
from jobs.report.measured import Aligned, CandidateNumbers
from jobs.report.protocol import protocol_section
from jobs.report.published import published_tables
from jobs.report.style import SCRIPT
from jobs.report.sweeps import sweep_charts, sweeps_table
from jobs.report.tables import differences_table, rates_table, sets_table, spread_table, summary_table, unverified_table
from jobs.report.timesteps import ANCHOR, TITLE, timesteps_section
from jobs.report.verdict import Verdict
from jobs.report.words import FORMATS, images, number

PLOTTED = 6  # metrics with plots of their own; numbers of the others stand in the tables


def render_html(findings: Findings, aligned: Aligned, told: list[Verdict]) -> str:
    """Return a whole HTML document that needs nothing but itself."""
    title = f"Evaluation of {findings.document.target}"
    parts = [
        section("verdict", "Verdict", *(_verdict(one) for one in told)),
        f'<p class="plainly">{_plainly(told)}</p>\n',
        section("numbers", "Numbers", *_numbers(findings, aligned)),
        section("plots", "Plots", *_plots(findings, aligned)),
        timesteps_section(findings, aligned.measured),
        gallery_section(findings, aligned),
        section("failures", "Failures", *_failures(findings, aligned)),
        protocol_section(findings),
    ]
    return document(title, _subtitle(findings, aligned), f"{_contents(parts)}<main>\n{''.join(parts)}</main>", SCRIPT)


def _subtitle(findings: Findings, aligned: Aligned) -> str:
    evaluated = findings.document
    data_set = f", data set {evaluated.data_set}" if evaluated.data_set else ""
    return f"{images(aligned.measured.num_images)}{data_set}, protocol {evaluated.judging.protocol.name}"


def _contents(parts: list[str]) -> str:
    names = ("verdict", "numbers", "plots", ANCHOR, "images", "failures", "protocol")
    links = [
        f'<a href="#{name}">{TITLE if name == ANCHOR else name.capitalize()}</a>'
        for name in names
        if f'<section id="{name}">' in "".join(parts)
    ]
    return f'<nav aria-label="Contents">{"".join(links)}</nav>\n'


def _plainly(told: list[Verdict]) -> str:
    return GENERATIVE if any(one.generative for one in told) else INTERPOLATED


def _verdict(verdict: Verdict) -> str:
    rows = "".join(
        f"<dt>{escaped(one.topic)}</dt><dd{' class=against' if 'against' in one.topic else ''}>{escaped(one.text)}</dd>"
        for one in verdict.paragraphs
    )
    return (
        f'<article class="verdict"><h3><bdi>{escaped(verdict.codec)}</bdi></h3>'
        f'<p class="headline">{escaped(verdict.headline)}</p><dl>{rows}</dl></article>'
    )


def _numbers(findings: Findings, aligned: Aligned) -> list[str]:
    measured = aligned.measured
    spreads = [spread_table(measured, codec) for codec in measured.of_kind("codec")]
    return [
        table(summary_table(measured)),
        table(sets_table(findings, measured)),
        *(table(differences_table(measured, one.candidate.name)) for one in measured.of_kind("codec")),
        *(table(one) for one in spreads),
        *(table(one) for one in published_tables(findings, measured)),
        table(archive_table(findings, measured)),
        table(thumbnails_table(measured)),
        table(timings_table(findings)),
        table(parts_table(findings)),
        table(sweeps_table(findings, measured)),
        table(rates_table(measured)),
        table(unverified_table(measured)),
    ]


def _plots(findings: Findings, aligned: Aligned) -> list[str]:
    measured = aligned.measured
    metrics = [one for one in measured.metrics if one.verified and not one.of_set][:PLOTTED]
    curves = [figure(f"{one.heading} against bits per pixel", rate_chart(measured, one)) for one in metrics]
    found = [_group("Rate and distortion", [_legend(aligned)], curves)]
    for codec in measured.of_kind("codec"):
        found += _codec_plots(aligned, codec)
    found.append(_group("Tile size", [], [figure(*one) for one in sweep_charts(findings, measured)]))
    maps, brightest = error_maps(aligned)
    shown = [f'<figure><img src="{url}" width="32" height="32" alt="">{_caption(name)}</figure>' for name, url in maps]
    if shown:
        said = "Root mean squared error of each cell, 32 by 32 over the image, mean of the images. Black 0, brightest "
        found.append(f'<h3>Where errors lie</h3><div class="maps">{"".join(shown)}</div>')
        found.append(f"<p class=note style='margin-top:.75rem'>{said}{number(brightest, 1)} levels of 255.</p>")
    return found


def _codec_plots(aligned: Aligned, codec: CandidateNumbers) -> list[str]:
    measured, name = aligned.measured, codec.candidate.name
    metrics = [one for one in measured.metrics if one.verified and not one.of_set][:PLOTTED]
    spread = [figure(one.heading, distribution_chart(aligned, codec, one)) for one in metrics]
    apart = [figure(f"{one.heading}, difference", difference_chart(measured, name, one)) for one in metrics]
    legend = (
        "<p class=note>Each dot is an image, or each bar a number of them; below, the bar from quartile to quartile "
        "and the mean as a stroke.</p>"
    )
    differences = "<p class=note>Mean paired difference with its 95 % interval; a filled disc is a clear one.</p>"
    return [
        _group(f"Single images: {name}", [legend], spread),
        _group(f"Image by image: {name} less the others", [differences], apart),
    ]


def _group(title: str, before: list[str], figures: list[str]) -> str:
    inside = "".join(figures)
    return f'<h3>{escaped(title)}</h3>{"".join(before)}<div class="plots">{inside}</div>' if inside else ""


def _legend(aligned: Aligned) -> str:
    """Return what colours and marks stand for."""
    candidates = [one.candidate for one in aligned.measured.candidates.values()]
    others = {one.format: series(one) for one in candidates if one.kind != "codec"}
    entries = [("s4", "diamond", "codec")]
    entries += [(look, "disc", FORMATS.get(form, form)) for form, look in others.items()]
    if any(one.down for one in candidates):
        entries.append(("soft", "ring", "a ring: after a downscale"))
    cells = "".join(
        f'<li><span class="key {look} {shape}"></span>{escaped(words)}</li>' for look, shape, words in entries
    )
    lines = "<li>lines: the format at rates, at its best scale</li>" if aligned.measured.of_kind("rate") else ""
    return f'<ul class="legend">{cells}{lines}</ul>'


def _caption(name: str) -> str:
    return f"<figcaption>{escaped(name)}</figcaption>"


def _failures(findings: Findings, aligned: Aligned) -> list[str]:
    counted = table(counts_table(aligned.measured), words=True)
    return [counted, table(failures_table(findings), words=True)] if counted else []
