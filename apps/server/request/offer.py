"""What a server has on offer: one model, its dictionaries, and edits that have a name.

Nothing else can be named in a request: no folder, no address of the hub.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.server.request.steering import read_steering
from dictionaries import catalogue
from dictionaries.dictionary import Dictionary
from dictionaries.files.strict_json import read_json
from steer.edits import Intervention
from steer.edits.json import dictionaries_named
from steer.errors import DictionaryError, InterventionError, ModelError, SteerError
from steer.lm.hookpoints import is_hookpoint
from steer.model import Model


class UnknownModelError(ModelError):
    """A model, or a named edit of it, that this server does not have."""


@dataclass(frozen=True, eq=False)
class Offer:
    """name: of the model in requests. dictionaries: by name, the first is what a short form means.

    edits: by name, as in `model@name`.
    """

    model: Model
    name: str
    dictionaries: Mapping[str, Dictionary]
    edits: Mapping[str, tuple[Intervention, ...]]

    @classmethod
    def of(cls, model: Model, dictionary: str | None = None, edits: Path | None = None) -> Offer:
        """Everything is loaded, and every named edit checked against the model, once.

        Raises `SteerError` for a file of `edits` that is no edit, or does not fit.
        """
        local = Path(model.name)
        name = local.name if local.exists() else model.name
        known = [listed for listed in catalogue.names() if listed.split("/")[0] == model.name]
        names = dict.fromkeys([dictionary, *reversed(known)] if dictionary else reversed(known))
        loaded = {own: model.dictionary(own) for own in names}
        offer = cls(model, name, {opened.name: opened for opened in loaded.values()}, {})
        files = [] if edits is None else sorted(_folder(edits).glob("*.json"))
        return cls(model, name, offer.dictionaries, {f.stem: offer.read(f) for f in files})

    def read(self, file: Path) -> tuple[Intervention, ...]:
        """A named edit. Raises with the file's name."""
        try:
            data = read_json(file.read_bytes(), "no JSON", InterventionError)
            interventions = self.interventions(data)
            self.model.plans(interventions, list(self.dictionaries.values()))
        except (SteerError, ValueError, OSError) as error:
            raise InterventionError(f"{file}: {error}") from error
        return interventions

    @property
    def ids(self) -> list[str]:
        """Of all models that can be asked for."""
        return [self.name, *(f"{self.name}@{edit}" for edit in self.edits)]

    def named(self, model: str) -> tuple[Intervention, ...]:
        """What a model's id stands for. Raises `UnknownModelError`."""
        if model not in self.ids:
            near = difflib.get_close_matches(model, self.ids, n=2, cutoff=0.5)
            hint = f" Did you mean {' or '.join(near)}?" if near else ""
            raise UnknownModelError(
                f"model {model!r} is not served here; served: {', '.join(self.ids)}.{hint}"
            )
        return self.edits.get(model.removeprefix(f"{self.name}@"), ())

    def interventions(self, steering: Any) -> tuple[Intervention, ...]:
        """Of a request's steering. Raises `InterventionError` or `DictionaryError`."""
        interventions = read_steering(steering, next(iter(self.dictionaries), ""))
        for intervention in interventions:
            for name in dictionaries_named(intervention.to_dict()):
                self.dictionary(name)
        return interventions

    def dictionary(self, name: str) -> Dictionary | None:
        """One on offer; None for a hookpoint. Raises `DictionaryError` for any other name."""
        if name in self.dictionaries:
            return self.dictionaries[name]
        if is_hookpoint(name):
            self.model.site(name)
            return None
        near = difflib.get_close_matches(name, list(self.dictionaries), n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise DictionaryError(
            f"dictionary {name!r} is not one of this server's: "
            f"{', '.join(self.dictionaries) or 'it has none'}.{hint}"
        )

    def used(self) -> list[Dictionary]:
        """All of them, for whoever lowers interventions."""
        return list(self.dictionaries.values())


def _folder(path: Path) -> Path:
    if not path.is_dir():
        raise InterventionError(f"{path} is no folder; --edits is one with a JSON file an edit")
    return path
