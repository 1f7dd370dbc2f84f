"""The command line: `steer --help`. Heavy imports are inside the commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.exceptions import TyperException

from apps import edit_options
from apps.options import DictionaryName, Dtype, Json, ModelName, Seed
from apps.options import load as _load

if TYPE_CHECKING:
    from rich.console import Console

    from steer.cache import Progress

app = typer.Typer(
    help="Change a language model through the features of a sparse dictionary.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

DEFAULT_DICTIONARY = "smollm2-135m/resid_post.20"

NewTokens = Annotated[int, typer.Option("--max-new-tokens", "-n", help="Tokens to generate.")]
Temperature = Annotated[float, typer.Option("--temperature", help="0 is greedy.")]


@app.command(epilog="Example: steer demo --json")
def demo(
    json_output: Json = False,
    dtype: Dtype = "float32",
    feature: Annotated[int | None, typer.Option(help="Another feature to clamp.")] = None,
    value: Annotated[str | None, typer.Option(help='Its value, such as "5x max".')] = None,
    prompt: Annotated[str | None, typer.Option(help="Another prompt.")] = None,
) -> None:
    """Clamp one feature of the default model and show what changes."""
    from apps.demo import run_demo

    with progress_bars(not json_output) as progress:
        result = run_demo(_load("smollm2-135m", dtype, progress), prompt, feature, value)
    _emit(json_output, result.to_dict(), result.render)


@app.command(epilog='Example: steer generate "The old bridge" --clamp 123=5x --ablate 77')
def generate(
    prompt: Annotated[str, typer.Argument(help="Text to continue.")],
    clamp: edit_options.Clamp = None,
    ablate: edit_options.Ablate = None,
    scale: edit_options.Scale = None,
    add: edit_options.Add = None,
    edit: edit_options.Files = None,
    positions: Annotated[str, typer.Option(help="all, prompt, generated, last, 3 or 2:5.")] = "all",
    when: edit_options.When = None,
    schedule: edit_options.Schedule = None,
    dictionary: DictionaryName = DEFAULT_DICTIONARY,
    model: ModelName = "smollm2-135m",
    max_new_tokens: NewTokens = 40,
    seed: Seed = 0,
    temperature: Temperature = 0.7,
    repetition_penalty: Annotated[float, typer.Option(help="1 is none.")] = 1.0,
    chat: Annotated[bool, typer.Option("--chat", help="The prompt is a chat message.")] = False,
    system: Annotated[str | None, typer.Option(help="System prompt of the chat.")] = None,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """Continue a prompt with and without edits, side by side, with the receipt."""
    from apps.render import run_view

    interventions = edit_options.interventions(
        dictionary,
        edit,
        positions,
        clamp=clamp,
        ablate=ablate,
        scale=scale,
        add=add,
        when=when,
        schedule=schedule,
    )
    with progress_bars(not json_output) as progress:
        run = _load(model, dtype, progress).generate(
            _messages(prompt, system) if chat or system else prompt,
            interventions,
            max_new_tokens=max_new_tokens,
            seed=seed,
            temperature=temperature,
            repetition_penalty=repetition_penalty,
            if_silent="ignore",
        )
    _emit(json_output, run.to_dict(), lambda: run_view(run))


def _messages(prompt: str, system: str | None) -> list[dict[str, str]]:
    """A chat whose last message is the prompt."""
    said = [] if system is None else [{"role": "system", "content": system}]
    return [*said, {"role": "user", "content": prompt}]


@app.command(epilog="Example: steer explain --clamp 123=5x --dictionary smollm2-135m/resid_post.20")
def explain(
    clamp: edit_options.Clamp = None,
    ablate: edit_options.Ablate = None,
    scale: edit_options.Scale = None,
    add: edit_options.Add = None,
    edit: edit_options.Files = None,
    positions: Annotated[str, typer.Option(help="all, prompt, generated, last, 3 or 2:5.")] = "all",
    when: edit_options.When = None,
    schedule: edit_options.Schedule = None,
    dictionary: DictionaryName = DEFAULT_DICTIONARY,
    model: ModelName = "smollm2-135m",
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """What an intervention would do, before anything is generated."""
    interventions = edit_options.interventions(
        dictionary,
        edit,
        positions,
        clamp=clamp,
        ablate=ablate,
        scale=scale,
        add=add,
        when=when,
        schedule=schedule,
    )
    with progress_bars(not json_output) as progress:
        plan = _load(model, dtype, progress).explain(interventions)
    _emit(json_output, plan.to_dict(), lambda: str(plan))


@app.command(epilog='Example: steer features "The Golden Gate Bridge is in San Francisco"')
def features(
    prompt: Annotated[str, typer.Argument(help="Text to read.")],
    dictionary: DictionaryName = DEFAULT_DICTIONARY,
    model: ModelName = "smollm2-135m",
    top: Annotated[int, typer.Option(min=1, help="Features per token.")] = 5,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """The most active features of each token."""
    from apps.render import features_view

    with progress_bars(not json_output) as progress:
        loaded = _load(model, dtype, progress)
        sae = loaded.dictionary(dictionary)
        found = loaded.features(prompt, sae)
    _emit(json_output, found.to_list(top), lambda: features_view(found, sae, loaded, top))


@app.command(epilog="Example: steer feature 123")
def feature(
    feature_id: Annotated[int, typer.Argument(metavar="ID", help="A feature's index.")],
    dictionary: DictionaryName = DEFAULT_DICTIONARY,
    model: ModelName = "smollm2-135m",
    json_output: Json = False,
) -> None:
    """A feature's card: how often it fires, on what, and what it promotes."""
    from apps.feature_card import feature_card
    from apps.render import feature_view

    with progress_bars(not json_output) as progress:
        card = feature_card(_tokenizer(model, progress), dictionary, feature_id)
    _emit(json_output, card.to_dict(), lambda: feature_view(card))


@app.command(epilog="Example: steer dictionaries --json")
def dictionaries(json_output: Json = False) -> None:
    """The dictionaries at hand, with the figures of their cards."""
    from apps.render import dictionaries_view
    from dictionaries import catalogue

    cards = [catalogue.read_card(name) for name in catalogue.names()]
    _emit(json_output, cards, lambda: dictionaries_view(cards))


@app.command(epilog="Example: steer train smollm2-135m --out my-dictionaries")
def train(
    recipe: Annotated[str, typer.Argument(help="A recipe file, or the name of a shipped one.")],
    out: Annotated[Path, typer.Option(help="Where finished dictionaries go.")] = Path("trained"),
    work: Annotated[
        Path | None, typer.Option(help="Activations and checkpoints; kept, so it can resume.")
    ] = None,
    site: Annotated[list[str] | None, typer.Option(help="Only these sites.")] = None,
    harvest_only: Annotated[bool, typer.Option(help="Stop when activations are there.")] = False,
    json_output: Json = False,
) -> None:
    """Train dictionaries by a recipe: corpora, activations, training, card."""
    from apps.recipe import load_recipe
    from apps.train import run_recipe

    loaded = load_recipe(recipe)
    with progress_bars(not json_output) as progress:
        folders = run_recipe(
            loaded, out, work, sites=site or None, harvest_only=harvest_only, progress=progress
        )
    cards = [json.loads((folder / "card.json").read_text()) for folder in folders]
    _emit(json_output, cards, lambda: "\n".join(f"written: {folder}" for folder in folders))


@app.command(epilog="Example: steer calibrate --dtype bfloat16")
def calibrate(
    dictionary: DictionaryName = DEFAULT_DICTIONARY,
    model: ModelName = "smollm2-135m",
    features: Annotated[int, typer.Option(help="How many random features.")] = 24,
    seed: Seed = 0,
    dtype: Dtype = "float32",
    json_output: Json = False,
) -> None:
    """How far features can be pushed before text falls apart."""
    from apps.calibrate import calibrate as measure
    from apps.calibrate import to_dicts
    from apps.render import dose_view

    with progress_bars(not json_output) as progress:
        loaded = _load(model, dtype, progress)
        sae = loaded.dictionary(dictionary)
        points = measure(loaded, sae, features=features, seed=seed, progress=progress)
    _emit(json_output, to_dicts(points), lambda: dose_view(points))


@app.command(epilog="Example: steer schema > intervention.schema.json")
def schema() -> None:
    """The JSON Schema of an intervention."""
    from steer.schema import json_schema

    print(json.dumps(json_schema(), indent=1))


@app.command(epilog="Example: steer export edit.json --to lm-eval --out steer.pt")
def export(
    edit: Annotated[Path, typer.Argument(help="An intervention saved as JSON.")],
    out: Annotated[Path, typer.Option(help="The file to write.")],
    to: Annotated[str, typer.Option(help="vector, lm-eval or neuronpedia.")] = "vector",
    model: ModelName = "smollm2-135m",
    json_output: Json = False,
) -> None:
    """Write an intervention in another tool's format, or say why it can't be said there."""
    from apps.edit_options import read_intervention
    from steer.exchange import export_to

    intervention = read_intervention(edit)
    with progress_bars(not json_output) as progress:
        export_to(to, _load(model, "float32", progress), intervention, out)
    _emit(json_output, {"written": str(out), "to": to}, lambda: f"written: {out}")


@app.command("app", epilog="Example: steer app --port 7860")
def serve(
    model: ModelName = "smollm2-135m",
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
    try:
        from apps.playground import launch
    except ModuleNotFoundError as error:
        raise typer.BadParameter(
            f"{error.name} is missing: pip install 'sae-steer[app]'"
        ) from error
    launch(
        model, dictionary, port, dtype=dtype, share=share, password=password, open_browser=browser
    )


@app.command(epilog="Example: steer fetch")
def fetch(
    check: Annotated[bool, typer.Option(help="Read it all and compare checksums.")] = False,
    json_output: Json = False,
) -> None:
    """Fetch the default model into the cache."""
    from steer import default_model

    with progress_bars(not json_output) as progress:
        folder = default_model.fetch(progress)
    digest = default_model.verify() if check else None
    result = {"model": default_model.NAME, "folder": str(folder), "sha256": digest}
    _emit(json_output, result, lambda: f"{default_model.NAME} is in {folder}")


# -- shared ------------------------------------------------------------------------------------


def console() -> Console:
    from rich.console import Console

    return Console()


def progress_bars(shown: bool) -> Any:
    """A context whose value is a `Progress` that draws on stderr, if shown."""
    from apps.progress import progress_bars as bars

    return bars(shown)


def _tokenizer(name: str, progress: Progress | None) -> Any:
    from steer.loading import load_tokenizer

    return load_tokenizer(name, progress)


def _quiet_libraries() -> None:
    import os

    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _emit(as_json: bool, data: Any, view: Any) -> None:
    if as_json:
        print(json.dumps(data, ensure_ascii=False, allow_nan=False))
    else:
        console().print(view(), markup=False, highlight=False)


def _mount() -> None:
    """The commands of the other modules, beside these."""
    from apps import (
        dictionaries_cli,
        effects_cli,
        evaluate_cli,
        labels_cli,
        paths_cli,
        reproduce_cli,
        scores_cli,
        studies_cli,
    )

    dictionaries_cli.labels_app.add_typer(labels_cli.app)
    app.add_typer(effects_cli.app)
    app.add_typer(dictionaries_cli.app)
    app.add_typer(reproduce_cli.app)
    app.add_typer(scores_cli.app)
    app.add_typer(paths_cli.app)
    app.add_typer(studies_cli.app)
    app.add_typer(evaluate_cli.app)


_mount()


def main() -> None:
    """Entry point: an error that the user can put right is one line and exit code 2."""
    _quiet_libraries()
    try:
        code = app(standalone_mode=False)
    except typer.Abort:
        sys.exit(1)
    except TyperException as error:
        if not sys.argv[1:]:
            sys.exit(2)  # the help was shown
        print(f"steer: {getattr(error, 'format_message', error.__str__)()}", file=sys.stderr)
        sys.exit(2)
    except (ValueError, RuntimeError, OSError) as error:
        if not _is_ours(error):
            raise
        print(f"steer: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)


def _is_ours(error: Exception) -> bool:
    return type(error).__module__.split(".")[0] in ("steer", "dictionaries", "apps")
