"""What the Take away view shows: the present state in four forms."""

from __future__ import annotations

from collections.abc import Callable

from apps.playground.html.markup import esc
from apps.playground.state.setup import Setup
from apps.playground.studio.studio import Studio
from apps.playground.take_away.scripts import command_line, python_script
from apps.same_model import arguments, call
from steer.errors import ModelError


def forms(studio: Studio, setup: Setup, address: str = "") -> dict[str, str]:
    """Link, JSON, Python script and command line. address: of the page, without its fragment.

    Raises `SteerError` for a state that can't be run.
    """
    model, text = studio.model, plain_text(studio, setup)
    studio.shelf.used(setup)
    return {
        "link": f"{address}#s={setup.to_fragment()}",
        "json": setup.to_json(),
        "python": _or_why(lambda: python_script(setup, studio.prompt(setup), call(model))),
        "shell": _or_why(lambda: command_line(setup, text, arguments(model))),
    }


def _or_why(form: Callable[[], str]) -> str:
    """A form, or a comment that says why the model can't be loaded by it."""
    try:
        return form()
    except ModelError as error:
        return f"# {error}\n"


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
