"""`--match`: a pattern for keys, such as `2024/*.jpg`."""

import re

import pyarrow.compute as pc


def parse_match(pattern: str) -> pc.Expression:
    """Return a pattern for keys (`*` any run, `?` one character, `[abc]`; `*` also matches `/`) as a filter."""
    # Not fnmatch.translate: it writes atomic groups, which the engine of Arrow (RE2) does not know.
    return pc.match_substring_regex(pc.field("key"), rf"(?s)\A{_regex(pattern)}\z")


def _regex(pattern: str) -> str:
    """Return a pattern as a regular expression of RE2; a bracket that does not close stands for itself."""
    parts, at = [], 0
    while at < len(pattern):
        letter, at = pattern[at], at + 1
        close = pattern.find("]", at + (2 if pattern[at : at + 1] == "!" else 1)) if letter == "[" else -1
        if close >= 0:
            parts.append(_letters(pattern[at:close]))
            at = close + 1
        else:
            parts.append({"*": ".*", "?": "."}.get(letter) or re.escape(letter))
    return "".join(parts)


def _letters(inside: str) -> str:
    """Return the set of letters that brackets stand for; ranges that run backwards hold none."""
    negated, inside = inside.startswith("!"), inside.removeprefix("!")
    ranges, at = [], 0
    while at < len(inside):
        first, last = inside[at], inside[at]
        if at + 2 < len(inside) and inside[at + 1] == "-":
            last, at = inside[at + 2], at + 2
        at += 1
        if first <= last:
            ranges.append(rf"\x{{{ord(first):x}}}-\x{{{ord(last):x}}}")
    if not ranges:
        return "." if negated else r"[^\x{0}-\x{10ffff}]"
    return f"[{'^' if negated else ''}{''.join(ranges)}]"
