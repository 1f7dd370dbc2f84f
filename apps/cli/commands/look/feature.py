"""`steer feature`: a feature's card."""

from __future__ import annotations

from apps.cli.command import command
from apps.cli.options.run import Float32
from apps.cli.options.single import DICTIONARY, DictionaryName, FeatureId


@command("steer feature 123")
def feature(
    *, feature_id: FeatureId, dictionary: DictionaryName = DICTIONARY, run: Float32
) -> None:
    """A feature's card: how often it fires, on what, and what it promotes.

    And by how much the probability of these tokens, summed, rises when it is pushed to half the
    stream's norm.
    """
    from apps.cli.views.look import feature_view
    from apps.labels.feature_card import feature_card
    from dictionaries import catalogue
    from steer.loading import load_tokenizer

    with run.progress() as progress:
        tokenizer = load_tokenizer(run.model, progress)
        loaded = catalogue.load(dictionary)
        card = feature_card(lambda i: tokenizer.decode([i]), loaded, feature_id)
    run.emit(card.to_dict(), lambda: feature_view(card))
