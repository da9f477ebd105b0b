"""Pieces of an HTML page; whatever they are given as text is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

# Longer lists are cut: a page of ten thousand names helps nobody.
LISTED = 200
STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 0.5rem 0 1.5rem; }
th, td { border: 1px solid #ccc; padding: 0.2rem 0.6rem; text-align: left; vertical-align: top; }
.notice { border: 2px solid #c0392b; padding: 0.5rem 1rem; font-weight: bold; }
svg { max-width: 40rem; display: block; }
svg text { font: 11px sans-serif; }
"""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def table(head: Sequence[str] | None, rows: Iterable[Sequence[str]]) -> str:
    """A table, with or without a line of headings."""
    first = "" if head is None else f"<tr>{''.join(f'<th>{_html(cell)}</th>' for cell in head)}</tr>"
    body = "".join(f"<tr>{''.join(f'<td>{_html(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>{first}{body}</table>"


def listing(items: Sequence[str]) -> str:
    """A list, of which so many are shown."""
    more = [f"and {len(items) - LISTED} more"] if len(items) > LISTED else []
    return f"<ul>{''.join(f'<li>{_html(item)}</li>' for item in [*items[:LISTED], *more])}</ul>"


def _html(text: str) -> str:
    return text if isinstance(text, Markup) else escape(text)
