"""What the Take away view shows: the present state in four forms."""

from __future__ import annotations

from apps.playground.html.markup import esc
from apps.playground.state.setup import Setup
from apps.playground.studio.studio import Studio
from apps.playground.take_away.scripts import command_line, python_script


def forms(studio: Studio, setup: Setup, address: str = "") -> dict[str, str]:
    """Link, JSON, Python script and command line. address: of the page, without its fragment.

    Raises `SteerError` for a state that can't be run.
    """
    model, dtype = studio.model.name, studio.model.dtype
    studio.shelf.used(setup)
    return {
        "link": f"{address}#s={setup.to_fragment()}",
        "json": setup.to_json(),
        "python": python_script(setup, studio.prompt(setup), model, dtype),
        "shell": command_line(setup, plain_text(studio, setup), model, dtype),
    }


def plain_text(studio: Studio, setup: Setup) -> str:
    """A text that the tokenizer turns into exactly what the app reads, for a chat too.

    A template writes its own start token, which some tokenizers put before a plain text anyway.
    """
    prompt, tokenizer = studio.read(setup), studio.model.tokenizer
    if tuple(tokenizer(prompt.text).input_ids) == prompt.ids:
        return prompt.text
    return prompt.text.removeprefix(tokenizer.bos_token or "")


def forms_view(text_of: dict[str, str]) -> str:
    titles = {
        "link": "Link to this page, as it is",
        "python": "Python",
        "shell": "Command line",
        "json": "JSON, to load here or keep",
    }
    figures = "".join(
        f'<figure class="code"><figcaption>{title}'
        f'<button class="quiet" data-act="copy">Copy</button></figcaption>'
        f'<pre id="take-{name}" tabindex="0">{esc(text_of[name])}</pre></figure>'
        for name, title in titles.items()
    )
    return f'<div class="forms">{figures}</div>'
