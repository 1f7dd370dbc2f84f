"""Commands that edit: `steer demo`, `generate`, `explain` and `app`."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from apps.cli.edit_options import Edits, gathers
from apps.cli.options import (
    DICTIONARY,
    EDIT,
    MODEL,
    DictionaryName,
    Dtype,
    Json,
    ModelName,
    Seed,
    load,
)
from apps.cli.output import emit
from apps.cli.progress import progress_bars

app = typer.Typer(no_args_is_help=True)


@app.command(rich_help_panel=EDIT, epilog="Example: steer demo --json")
def demo(
    json_output: Json = False,
    dtype: Dtype = "float32",
    feature: Annotated[int | None, typer.Option(help="Another feature to clamp.")] = None,
    value: Annotated[str | None, typer.Option(help='Its value, such as "5x max".')] = None,
    prompt: Annotated[str | None, typer.Option(help="Another prompt.")] = None,
) -> None:
    """Clamp one feature of the default model and show what changes."""
    from apps.studies.demo import run_demo

    with progress_bars(not json_output) as progress:
        result = run_demo(load(MODEL, dtype, progress), prompt, feature, value)
    emit(json_output, result.to_dict(), result.render)


@app.command(
    rich_help_panel=EDIT,
    epilog='Example: steer generate "The old bridge" --clamp 123=5x --ablate 77',
)
@gathers
def generate(
    prompt: Annotated[str, typer.Argument(help="Text to continue.")],
    edits: Edits,
    dictionary: DictionaryName = DICTIONARY,
    model: ModelName = MODEL,
    max_new_tokens: Annotated[
        int, typer.Option("--max-new-tokens", "-n", help="Tokens to generate.")
    ] = 40,
    seed: Seed = 0,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.7,
    repetition_penalty: Annotated[float, typer.Option(help="1 is none.")] = 1.0,
    chat: Annotated[bool, typer.Option("--chat", help="The prompt is a chat message.")] = False,
    system: Annotated[str | None, typer.Option(help="System prompt of the chat.")] = None,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Continue a prompt with and without edits, side by side, with the receipt."""
    from apps.cli.views import run_view

    interventions = edits.interventions(dictionary)
    with progress_bars(not json_output) as progress:
        run = load(model, dtype, progress).generate(
            _messages(prompt, system) if chat or system else prompt,
            interventions,
            max_new_tokens=max_new_tokens,
            seed=seed,
            temperature=temperature,
            repetition_penalty=repetition_penalty,
            if_silent="ignore",
        )
    emit(json_output, run.to_dict(), lambda: run_view(run))


def _messages(prompt: str, system: str | None) -> list[dict[str, str]]:
    """A chat whose last message is the prompt."""
    said = [] if system is None else [{"role": "system", "content": system}]
    return [*said, {"role": "user", "content": prompt}]


@app.command(
    rich_help_panel=EDIT,
    epilog="Example: steer explain --clamp 123=5x --dictionary smollm2-135m/resid_post.20",
)
@gathers
def explain(
    edits: Edits,
    dictionary: DictionaryName = DICTIONARY,
    model: ModelName = MODEL,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """What an intervention would do, before anything is generated."""
    interventions = edits.interventions(dictionary)
    with progress_bars(not json_output) as progress:
        plan = load(model, dtype, progress).explain(interventions)
    emit(json_output, plan.to_dict(), lambda: str(plan))


@app.command("app", rich_help_panel=EDIT, epilog="Example: steer app --port 7860")
def serve(
    model: ModelName = MODEL,
    dictionary: Annotated[
        str | None, typer.Option(help="The first to offer: a catalogue name or a folder.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="By default the first free one from 7860.")
    ] = None,
    dtype: Dtype = "float32",
    share: Annotated[bool, typer.Option(help="A public tunnel; needs --password.")] = False,
    password: Annotated[str | None, typer.Option(help="Ask for it (user: steer).")] = None,
    browser: Annotated[bool, typer.Option(help="Open it in the browser.")] = False,
) -> None:
    """Try edits by hand, in a page on this machine (127.0.0.1)."""
    with _uncollected():
        try:
            from apps.playground import launch
        except ModuleNotFoundError as error:
            raise typer.BadParameter(
                f"{error.name} is missing: pip install 'sae-steer[app]'"
            ) from error
        options: dict[str, Any] = {
            "dtype": dtype,
            "share": share,
            "password": password,
            "open_browser": browser,
        }
        blocks = launch(model, dictionary, port, wait=False, **options)
    blocks.block_thread()


@contextmanager
def _uncollected() -> Iterator[None]:
    """Nothing is garbage while thousands of modules come in; to look for it takes a fifth of it."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
