"""`steer dictionaries`: what is at hand."""

from __future__ import annotations

from apps.cli.command import command
from apps.cli.options.run import Output


@command("steer dictionaries --json")
def dictionaries(*, output: Output) -> None:
    """The dictionaries at hand, with the figures of their cards."""
    from apps.cli.views.look import dictionaries_view
    from dictionaries import catalogue

    cards = [catalogue.read_card(name) for name in catalogue.names()]
    output.emit(cards, lambda: dictionaries_view(cards))
