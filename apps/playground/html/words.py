"""The page's technical words, each with a line that is shown on pointing at it."""

from __future__ import annotations

from collections.abc import Sequence

from apps.playground.html.markup import esc

WORDS = {
    "feature": (
        "One of the thousands of directions that the dictionary tells apart in the model's inner "
        "state; with luck it stands for one thing."
    ),
    "dictionary": (
        "A sparse autoencoder: it writes the model's inner state at one site as a sum of a few of "
        "its features."
    ),
    "site": (
        "Where in the model the dictionary reads and an edit acts; resid_post.20 is the residual "
        "stream after block 20."
    ),
    "edit": "What a feature is to become while the model reads and writes, such as: clamp to 156.",
    "activation": "How strongly a feature is on at a token, in the dictionary's own units.",
    "max": "The largest activation of the feature in the texts that its statistics come from.",
    "norm": (
        "A share of the length of the stream at the token: 0.3 is seen in most texts, from about "
        "0.5 many break."
    ),
    "baseline": "The text that the untouched model writes, with the same seed.",
    "receipt": "Where each edit acted, and from what to what.",
    "re-encoded": (
        "What the encoder reads after the edit. It differs from what was asked for, as encoder "
        "and decoder rows differ."
    ),
    "‖Δ‖ / ‖x‖": "The length of the change as a share of the stream's, on average over its tokens.",
    "nats a token": (
        "How unlikely the unedited model finds the text: the mean of −ln(probability). About 2 is "
        "usual for fluent text."
    ),
    "nats": "A unit of information: 1 nat is 1.44 bits.",
    "KL": (
        "KL(clean‖edited): how far the edited model's prediction of the next token is from the "
        "clean one's, in nats; 0 is the same."
    ),
    "logit": "A token's score before softmax; +1 makes it 2.7 times as likely beside the others.",
    "control": (
        "The same length of change in another direction: what any push of that size does. What "
        "the edit does beyond it is its own."
    ),
    "interval": "Where the mean over such prompts would be in 95% of samples (bootstrap).",
    "dose": "The amount of the edits, as a share of the present one.",
    "promotes": "Tokens whose logits the feature's decoder row raises most, directly.",
    "suppresses": "Tokens whose logits it lowers most, directly.",
    "when ablated": "How much worse the next token is predicted without it, where it is on.",
    "neighbours": "Features whose decoder rows point most nearly the same way; the cosine.",
}


def why(word: str, text: str = "") -> str:
    """A word of `WORDS` that says its line on pointing, on focus and to a screen reader."""
    line = esc(WORDS[word])
    return (
        f'<button type="button" class="why" data-tip="{line}" aria-description="{line}">'
        f"{esc(text or word)}</button>"
    )


FIRST = ("feature", "dictionary", "site", "edit", "activation", "norm", "receipt", "re-encoded")
"""What one meets first."""


def words_view(names: Sequence[str] = FIRST) -> str:
    """Words and their lines, as a list."""
    items = "".join(f"<div><dt>{esc(name)}</dt><dd>{esc(WORDS[name])}</dd></div>" for name in names)
    return f'<h3>Words</h3><dl class="words">{items}</dl>'
