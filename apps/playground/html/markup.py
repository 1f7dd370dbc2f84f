"""Pieces of HTML text that every view uses: data in, escaped HTML out."""

from __future__ import annotations

import html


def esc(text: object) -> str:
    """Text as HTML shows it, in an element or in a quoted attribute."""
    return html.escape(str(text), quote=True)


def visible(token: str) -> str:
    """A token with its white space made visible, and what has no shape by its number; escaped."""
    shown = token.replace("\n", "⏎").replace("\t", "⇥")
    shown = "".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in shown)
    if shown.strip() != shown:
        shown = shown.replace(" ", "␣")
    return esc(shown) or "∅"


def figure(value: float) -> str:
    """Three significant digits, without an exponent for the usual sizes."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def notice(text: str, kind: str = "info") -> str:
    """A sentence in the page. kind: info, warn or error."""
    role = "alert" if kind == "error" else "status"
    return f'<p class="notice {esc(kind)}" role="{role}">{esc(text)}</p>' if text else ""
