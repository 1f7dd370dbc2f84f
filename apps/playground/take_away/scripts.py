"""The present state as a Python script and as a command line, which give exactly the same text."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import fields

from apps.playground.state.setup import Setup
from steer.edits import Edit, FeatureEdit, Intervention
from steer.edits.positions import Tokens

_FLAGS = {"clamp": "--clamp", "ablate": "--ablate", "scale": "--scale", "add": "--add"}


def python_script(setup: Setup, prompt: str | list[dict[str, str]], model: str) -> str:
    """A script that prints the edited text. model: Python that loads it."""
    interventions = setup.interventions()
    blocks = [_intervention(intervention) for intervention in interventions]
    options = ", ".join(f"{name}={value!r}" for name, value in setup.sampling.items())
    lines = [
        "import steer",
        "",
        f"model = {model}",
        f"prompt = {prompt!r}",
        f"edits = [{''.join(blocks)}]" if blocks else "edits = []",
        f"run = model.generate(prompt, edits, {options})",
        "print(run.text)",
    ]
    return "\n".join(lines) + "\n"


def _intervention(intervention: Intervention) -> str:
    edits = "".join(f"\n        {_edit(edit)}," for edit in intervention.edits)
    order = "" if intervention.conflicts == "refuse" else f", conflicts={intervention.conflicts!r}"
    return f"\n    steer.Intervention({intervention.dictionary!r}, [{edits}\n    ]{order}),\n"


def _edit(edit: Edit) -> str:
    nested = not isinstance(edit, FeatureEdit) or isinstance(edit.positions, Tokens)
    if nested or edit.when or edit.schedule:
        return f"steer.edits.edit_from_dict({edit.to_dict()!r})"
    given = {field.name: getattr(edit, field.name) for field in fields(edit)}
    feature = given.pop("feature")
    defaults = {field.name: field.default for field in fields(edit)}
    named = [f"{name}={value!r}" for name, value in given.items() if value != defaults[name]]
    return f"steer.{type(edit).__name__}({', '.join([repr(feature), *named])})"


def command_line(setup: Setup, prompt: str, model: Sequence[str]) -> str:
    """A shell command that prints the run as JSON; its `steered` is the edited text.

    prompt: with the chat template applied. model: options that say which. Edits that flags can't
    say go through files that the command writes first.
    """
    interventions = setup.interventions()
    if not interventions:
        return "# The command line needs an edit: add one, or unmute one.\n"
    flags = _flags(interventions)
    before = "" if flags is not None else "".join(map(_heredoc, range(99), interventions))
    files = [f"--edit edit-{number + 1}.json" for number in range(len(interventions))]
    parts = [
        "steer generate --json",
        shlex.join(model),
        *(files if flags is None else flags),
        *(f"--{name.replace('_', '-')} {value}" for name, value in setup.sampling.items()),
        f"-- {shlex.quote(prompt)}",
    ]
    return before + " \\\n  ".join(parts) + "\n"


def _heredoc(number: int, intervention: Intervention) -> str:
    return f"cat > edit-{number + 1}.json <<'END'\n{intervention.to_json()}\nEND\n"


def _flags(interventions: tuple[Intervention, ...]) -> list[str] | None:
    """The edits as options, or None where the options can't say them."""
    if len(interventions) != 1:
        return None
    edits = interventions[0].edits
    positions = {edit.positions for edit in edits}
    if len(positions) > 1 or not all(_plain(edit) for edit in edits):
        return None
    flags = [f"--dictionary {shlex.quote(interventions[0].dictionary)}"]
    flags += [_flag(edit) for edit in edits]
    if interventions[0].conflicts == "in_order":
        flags.append("--in-order")
    if (where := positions.pop()) != "all":
        flags.append(f"--positions={shlex.quote(str(where))}")
    return flags


def _plain(edit: Edit) -> bool:
    """Whether its flag says all of it."""
    plain = edit.to_dict()
    known = {"kind", "feature", "positions", "value", "factor", "to"}
    return (
        edit.kind in _FLAGS
        and set(plain) <= known
        and plain.get("to", "zero") == "zero"
        and isinstance(edit.positions, str | int)
    )


def _flag(edit: Edit) -> str:
    plain = edit.to_dict()
    value = plain.get("value", plain.get("factor"))
    feature = plain["feature"]
    text = f"{feature}" if value is None else f"{feature}={value}"
    return f"{_FLAGS[edit.kind]} {shlex.quote(text)}"
