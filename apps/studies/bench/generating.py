"""Generating with edits, or watched, over plain generating."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from apps.studies.bench.operations import Operations
from apps.studies.bench.prompt import PROMPT
from apps.studies.bench.timed import Figure, figure, interleaved

if TYPE_CHECKING:
    from dictionaries.dictionary import Dictionary
    from steer.edits import Edit
    from steer.model import Model


def plain(model: Model, new_tokens: int) -> tuple[Callable[[], Any], dict[str, Any], Any]:
    """transformers' own greedy generate of one row, its options, and the inputs."""
    import torch

    ids, mask = model.tokenize([PROMPT])
    options = {
        "do_sample": False,
        "max_new_tokens": new_tokens,
        "min_new_tokens": new_tokens,
        "pad_token_id": model.tokenizer.pad_token_id,
        "return_dict_in_generate": True,
    }

    def run() -> None:
        with torch.inference_mode():
            model.module.generate(input_ids=ids, attention_mask=mask, **options)

    return run, options, (ids, mask)


def clamped(
    model: Model, dictionary: Dictionary, edits: int, condition: bool, pairs: int, new_tokens: int
) -> Figure:
    """Clamps, with a condition or none, over plain text."""
    from steer.edits import Clamp, Intervention
    from steer.edits.conditions import Active
    from steer.splice import passes
    from steer.splice.build_receipt import build

    generate, options, (ids, mask) = plain(model, new_tokens)
    when = Active(0) if condition else None
    clamps: list[Edit] = [Clamp(f, 1.0, when=when) for f in range(1, edits + 1)]
    intervention = Intervention(dictionary.name, clamps)
    span = model.span(ids, mask)

    def steered() -> None:
        """With what a caller waits for: the plan before, and the receipt behind."""
        plans = model.plans([intervention], [dictionary])
        output, steps = passes.generate(model.nn, ids, span, plans, options)
        build([intervention], steps, [model.token(i) for i in output.sequences[0, :-1].tolist()])

    runs = interleaved(steered, generate, pairs)
    width = edits + condition
    # Each edited feature is read before and after, and written once.
    return figure(
        runs, 1 + 3 * width * dictionary.config.d_in / Operations.of(model, dictionary).token
    )


def watched(model: Model, dictionary: Dictionary, pairs: int, new_tokens: int) -> Figure:
    """Plain text with all active features of each token shown, over plain text."""
    from steer.lm.passes import resumed

    generate, options, (ids, mask) = plain(model, new_tokens)
    site = model.site(model.site_of(dictionary))

    def look(x: Any) -> Any:
        features = dictionary.encode(x[:, -1].float())[0]
        return features.topk(min(50, dictionary.width))

    runs = interleaved(
        lambda: resumed.watch(model.nn, ids, mask, site, look, options), generate, pairs
    )
    encode = dictionary.config.d_in * dictionary.width
    return figure(runs, 1 + encode / Operations.of(model, dictionary).token)


def both_texts(model: Model, dictionary: Dictionary, pairs: int, new_tokens: int) -> Figure:
    """Baseline and edited text by `Model.generate`, receipt included, over plain text of one."""
    from steer.edits import Clamp, Intervention

    generate, _, _ = plain(model, new_tokens)
    edit = Intervention(dictionary.name, [Clamp(1, 1.0)])

    def both() -> None:
        model.generate(
            PROMPT, edit, max_new_tokens=new_tokens, min_new_tokens=new_tokens, temperature=0
        )

    return figure(interleaved(both, generate, pairs), 2.0)
