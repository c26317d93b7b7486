"""Pieces of HTML: escaped words, tables, figures."""

from html import escape

from jobs.page_style import STYLE as PAGE_STYLE
from jobs.report.style import STYLE
from jobs.report.tables import BREAK, Cell, Told
from jobs.words import plain


def document(title: str, subtitle: str, body: str, script: str = "") -> str:
    """Return a whole page that asks for nothing: the icon is empty, so that browsers look for none."""
    scripts = f"<script>{script}</script>" if script else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{escaped(title)}</title>\n<style>{PAGE_STYLE}{STYLE}</style></head>\n<body>\n"
        f'<header><h1>{escaped(title)}</h1><p class="codec">{escaped(subtitle)}</p></header>\n'
        f"{body}\n{scripts}</body></html>\n"
    )


def escaped(text: str) -> str:
    """Return any text so that it adds no tag and stays visible: control characters as Unicode's pictures of them."""
    return escape(plain(text))


def table(told: Told, *, words: bool = False, heading: str = "h3") -> str:
    """Return a table that scrolls by itself where it is wider than the page; `words` sets its cells to the left."""
    if not any(told.groups):
        return ""
    title = f"<{heading}>{escaped(told.title)}</{heading}>" if heading else ""
    head = "".join(f"<th scope=col>{escaped(name)}</th>" for name in told.headings)
    bodies = "".join(f"<tbody>{''.join(_row(row) for row in group)}</tbody>" for group in told.groups if group)
    look = "wide words" if words else "wide"
    return (
        f'{title}<div class="{look}" tabindex="0" role="region" aria-label="{escaped(told.title)}">'
        f"<table><thead><tr>{head}</tr></thead>{bodies}</table></div>{notes(told.notes)}"
    )


def notes(lines: list[str]) -> str:
    """Return notes below a table."""
    return "".join(f'<p class="note">{escaped(line)}</p>' for line in lines)


def figure(caption: str, inside: str) -> str:
    """Return a plot with its name above, or nothing for an empty one."""
    return f"<figure><figcaption>{escaped(caption)}</figcaption>{inside}</figure>" if inside else ""


def section(anchor: str, title: str, *inside: str) -> str:
    """Return a part of the page, or nothing for an empty one."""
    content = "".join(inside)
    return f'<section id="{anchor}"><h2>{escaped(title)}</h2>{content}</section>\n' if content else ""


def _row(row: list[Cell]) -> str:
    first, *rest = row
    return f"<tr>{_cell(first, 'th scope=row')}{''.join(_cell(cell, 'td') for cell in rest)}</tr>"


def _cell(cell: Cell, tag: str) -> str:
    lines = "<br>".join(escaped(line) for line in cell.small.split(BREAK))
    small = f"<small>{lines}</small>" if lines else ""
    look = f' class="{cell.mark}"' if cell.mark else ""
    return f"<{tag}{look}>{escaped(cell.text)}{small}</{tag.split(maxsplit=1)[0]}>"
