"""Groups of options: a dataclass as a command's parameter becomes an option a field.

@command("steer explain --clamp 123=5x")
def explain(*, edits: Edits, run: Reading) -> None:
    interventions = edits.interventions(run.dictionary)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from typing import Any, get_type_hints

import typer

TYPED = "steer.typed"
"""In the metadata of a group's field: it is no option, but the command's options, such as
`--clamp`, as often as each was typed, in that order. In the `meta` of the command's context: those.
"""
_CONTEXT = "context"


def flattened(function: Callable[..., None]) -> Callable[..., None]:
    """The function with options in place of groups.

    A group's options stand where the group does, and those that are keyword-only in it, such as
    --json, behind all others. A field with `TYPED` in its metadata is no option.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    front: list[inspect.Parameter] = []
    back: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in groups:
            front += _options(groups[name], kw_only=False)
            back += _options(groups[name], kw_only=True)
        else:
            kind = inspect.Parameter.KEYWORD_ONLY
            front.append(parameter.replace(kind=kind, annotation=hints[name]))

    ordered = any(TYPED in field.metadata for group in groups.values() for field in fields(group))
    if ordered:
        kind = inspect.Parameter.KEYWORD_ONLY
        front.append(inspect.Parameter(_CONTEXT, kind, annotation=typer.Context))

    @wraps(function)
    def flat(**given: Any) -> None:
        typed = given.pop(_CONTEXT).meta.get(TYPED, ()) if ordered else ()
        made = {
            name: group(
                **{
                    field.name: typed if TYPED in field.metadata else given.pop(field.name)
                    for field in fields(group)
                }
            )
            for name, group in groups.items()
        }
        function(**made, **given)

    changed: Any = flat
    changed.__signature__ = inspect.Signature([*front, *back])
    changed.__annotations__ = {option.name: option.annotation for option in (*front, *back)}
    return flat


def _options(group: Any, *, kw_only: bool) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(option),
            annotation=hints[option.name],
        )
        for option in fields(group)
        if option.kw_only == kw_only and TYPED not in option.metadata
    ]


def _default(option: Field[Any]) -> Any:
    return inspect.Parameter.empty if option.default is MISSING else option.default
