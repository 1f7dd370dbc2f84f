"""`steer generate`: a text with and without edits."""

from __future__ import annotations

from typing import Annotated

import typer

from apps.cli.command import command
from apps.cli.options.edits import Edits
from apps.cli.options.remote import Elsewhere
from apps.cli.options.run import Reading
from apps.cli.options.single import Seed


@command('steer generate "The old bridge" --clamp 123=5x --ablate 77')
def generate(
    *,
    prompt: Annotated[str, typer.Argument(help="Text to continue.")],
    edits: Edits,
    run: Reading,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", "-n", help="Tokens to generate.")
    ] = 40,
    seed: Seed = 0,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.7,
    repetition_penalty: Annotated[float, typer.Option(help="1 is none.")] = 1.0,
    chat: Annotated[bool, typer.Option("--chat", help="The prompt is a chat message.")] = False,
    system: Annotated[str | None, typer.Option(help="System prompt of the chat.")] = None,
    elsewhere: Elsewhere,
) -> None:
    """Continue a prompt with and without edits, side by side, with the receipt."""
    from apps.cli.views.edit import run_view

    interventions = edits.interventions(run.dictionary)
    with run.loaded() as (model, _):
        texts = model.generate(
            _messages(prompt, system) if chat or system is not None else prompt,
            interventions,
            max_new_tokens=max_new_tokens,
            seed=seed,
            temperature=temperature,
            repetition_penalty=repetition_penalty,
            if_silent="ignore",
            remote=elsewhere.server,
        )
    run.emit(texts.to_dict(), lambda: run_view(texts))


def _messages(prompt: str, system: str | None) -> list[dict[str, str]]:
    """A chat whose last message is the prompt."""
    said = [] if system is None else [{"role": "system", "content": system}]
    return [*said, {"role": "user", "content": prompt}]
