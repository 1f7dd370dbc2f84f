"""What lowering asks of the model: sites, activations of other texts, directions made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations, product

import torch
from torch import Tensor

from dictionaries.dictionary import Dictionary
from steer.disk.content import dictionary_content
from steer.edits import Intervention
from steer.edits.conflicts import named, refuse_opposite
from steer.edits.directions import DecoderRow, Difference, Direction, Random, Vector
from steer.edits.overlap import may_overlap
from steer.edits.subspaces import Subspace
from steer.errors import DictionaryError, InterventionError
from steer.features.fit import load_dictionary, site_of
from steer.lm.anatomy import Site
from steer.lm.hookpoints import is_hookpoint
from steer.lm.language_model import LanguageModel
from steer.maths.precision import exact
from steer.splice.lower import Sources, alike, lower
from steer.splice.plan import LoweredEdit, SitePlan
from steer.splice.spanned import refuse_inside, same_subspaces

_COPIED = 1e-2
"""How far the numbers of a dictionary's copy in a low dtype are from its own, relatively."""


def plans(
    model: LanguageModel,
    interventions: Sequence[Intervention],
    dictionaries: Sequence[Dictionary] = (),
    rows: slice = slice(None),
    clean: slice | None = None,
) -> list[SitePlan]:
    """Interventions lowered to tensors for these batch rows, in the order given.

    Dictionaries are looked up by name, first among `dictionaries`, then in the catalogue.
    Positions by row need `rows` with a stop, and as many of them.
    clean: the rows of the same texts without edits, if the batch has them.

    Raises `InterventionError` for interventions that want different things of one place, and what
    reading their dictionaries raises.
    """
    given = by_name(dictionaries)
    lowered = [_plan(model, intervention, given, rows, clean) for intervention in interventions]
    refuse_conflicts_between(interventions, lowered)
    return lowered


def by_name(dictionaries: Sequence[Dictionary]) -> dict[str, Dictionary]:
    """Dictionaries by their names.

    Raises `DictionaryError` for what is no list of them, and for two of one name: an edit would be
    of the one or the other.
    """
    if not isinstance(dictionaries, Sequence) or isinstance(dictionaries, str):
        raise DictionaryError(f"dictionaries is a list of dictionaries, not {dictionaries!r}")
    named: dict[str, Dictionary] = {}
    for dictionary in dictionaries:
        if not isinstance(dictionary, Dictionary):
            raise DictionaryError(
                f"{dictionary!r} is no dictionary such as Model.dictionary gives; those that edits "
                "name are read by themselves"
            )
        if named.setdefault(dictionary.name, dictionary) is not dictionary and dictionary.name:
            raise DictionaryError(
                f"two dictionaries are called {dictionary.name!r}, and an edit names one: give "
                "them names of their own, such as dataclasses.replace(dictionary, name='other')"
            )
    return named


def dictionary_of(
    model: LanguageModel, intervention: Intervention, given: Mapping[str, Dictionary]
) -> Dictionary | None:
    """The dictionary that an intervention names, or None where it names a hookpoint."""
    name = intervention.dictionary
    if name in given:
        return given[name]
    return None if is_hookpoint(name) else load_dictionary(model, name)


def edited_contents(
    model: LanguageModel, interventions: Iterable[Intervention], dictionaries: Sequence[Dictionary]
) -> list[list[str | int | None]]:
    """Which dictionaries interventions name, each once, as `dictionary_content` says it; those
    whose decoder rows are edited as directions too."""
    given = by_name(dictionaries)
    named = {name for intervention in interventions for name in _dictionaries_of(intervention)}
    return [
        dictionary_content(given[name] if name in given else load_dictionary(model, name))
        for name in sorted(named)
        if name in given or not is_hookpoint(name)
    ]


def _dictionaries_of(intervention: Intervention) -> Iterator[str]:
    yield intervention.dictionary
    for edit in intervention.edits:
        target = edit.target
        for direction in target.spans if isinstance(target, Subspace) else [target]:
            if isinstance(direction, DecoderRow):
                yield direction.dictionary


def _plan(
    model: LanguageModel,
    intervention: Intervention,
    given: Mapping[str, Dictionary],
    rows: slice,
    clean: slice | None,
) -> SitePlan:
    """One intervention lowered."""
    dictionary = dictionary_of(model, intervention, given)
    if dictionary is not None:
        site = model.site(site_of(model, dictionary))
        out = model.site(dictionary.config.hookpoint_out or str(site.hookpoint))
        beyond = () if dictionary.later is None else dictionary.later.hookpoints
    else:
        site, beyond = model.site(intervention.dictionary), ()
        out = site
    sources = Sources(
        activations=lambda prompts: activations(model, prompts, str(site.hookpoint)),
        direction=lambda source: resolve_direction(model, source, out, given),
        token_id=model.token_id,
    )
    return lower(
        intervention,
        dictionary,
        site,
        out,
        sources,
        rows=rows,
        clean=clean,
        later=[model.site(hookpoint) for hookpoint in beyond],
        device=model.device,
        dtype=model.module.dtype,
    )


def activations(model: LanguageModel, prompts: Sequence[str], hookpoint: str) -> list[Tensor]:
    """x [s, d] of each prompt at a hookpoint, padding left out."""
    ids, mask = model.tokenize(list(prompts))
    streams = exact(model.collect(ids, mask, [hookpoint])[hookpoint])
    return [row[real.bool()] for row, real in zip(streams, mask, strict=True)]


def resolve_direction(
    model: LanguageModel, source: Direction, site: Site, given: Mapping[str, Dictionary]
) -> Tensor:
    """The vector [d] of a direction's source, at a site.

    Raises `InterventionError` for a source that gives no direction, such as equal means.
    """
    match source:
        case Vector(values):
            vector = torch.tensor(values, dtype=torch.float64)
        case DecoderRow(name, feature):
            dictionary = given[name] if name in given else load_dictionary(model, name)
            dictionary.check_features([feature])
            vector = dictionary.W_dec[feature]
        case Difference(positive, negative):
            means = [
                torch.stack([x[-1] for x in activations(model, side, str(site.hookpoint))]).mean(0)
                for side in (positive, negative)
            ]
            vector = means[0] - means[1]
        case Random(seed):
            generator = torch.Generator().manual_seed(seed)
            vector = torch.randn(model.width(site), generator=generator)
        case _:
            raise InterventionError(f"{source!r} is no direction")
    if len(vector) != model.width(site):
        raise InterventionError(
            f"a direction of length {len(vector)} was given for {site.hookpoint}, whose width is "
            f"{model.width(site)}"
        )
    if not vector.norm() > 0:
        raise InterventionError(f"{source!r} gives a direction of length 0")
    return vector


def refuse_conflicts_between(
    interventions: Sequence[Intervention], plans: Sequence[SitePlan]
) -> None:
    """Raise `InterventionError` if interventions of one run want different things of one place.

    All read a site before any of them writes there, and what they write adds up: two clamps of a
    feature would give neither, and an error term dropped twice would be subtracted twice.
    """
    pairs = zip(interventions, plans, strict=True)
    for (one, first), (other, second) in combinations(pairs, 2):
        if first.out != second.out:
            continue
        if first.error != "keep" and second.error != "keep":
            raise InterventionError(
                f"{one.dictionary} and {other.dictionary} both change the error term at "
                f"{first.out.hookpoint} ({first.error}, {second.error}); let one of them do it"
            )
        named_alike = one.dictionary == other.dictionary
        for mine, theirs in _opposite(first, second):
            refuse_opposite(mine, theirs)
        refuse_inside(first, second)
        refuse_inside(second, first)
        for mine, theirs in _of_one_target(first, second, named_alike):
            if may_overlap(mine.positions, theirs.positions):
                also = "" if named_alike else f" (the same under the name {other.dictionary})"
                raise InterventionError(
                    f"two interventions edit {named(mine.edit)} of {one.dictionary}{also} and can "
                    f"touch the same token ({mine.edit.kind} at {mine.edit.positions!r}, "
                    f"{theirs.edit.kind} at {theirs.edit.positions!r}); give positions that share "
                    f"no token, or put both edits in one intervention of {one.dictionary} with "
                    "conflicts='in_order'"
                )


Pairs = Iterator[tuple[LoweredEdit, LoweredEdit]]


def _opposite(first: SitePlan, second: SitePlan) -> Pairs:
    """Edits of opposite directions."""
    opposite = alike(first.directions, -second.directions)
    for mine, theirs in product(first.direction_edits, second.direction_edits):
        if opposite[mine.target - len(first.columns)][theirs.target - len(second.columns)]:
            yield mine, theirs


def _of_one_target(first: SitePlan, second: SitePlan, named_alike: bool) -> Pairs:
    """Edits of one direction, subspace or feature, whatever it is called."""
    same = alike(first.directions, second.directions)
    for mine, theirs in product(first.direction_edits, second.direction_edits):
        if same[mine.target - len(first.columns)][theirs.target - len(second.columns)]:
            yield mine, theirs
    yield from same_subspaces(first, second)
    for mine, theirs in product(first.feature_edits, second.feature_edits):
        if mine.edit.target == theirs.edit.target and (
            named_alike or _same_feature(first, mine.target, second, theirs.target)
        ):
            yield mine, theirs


def _same_feature(first: SitePlan, mine: int, second: SitePlan, theirs: int) -> bool:
    """Whether what is read and what is written are the same, up to the dtype of a copy."""
    rows = [plan.W_dec[target] for plan, target in ((first, mine), (second, theirs))]
    read = [
        plan.dictionary.W_enc[:, plan.columns[target]]
        for plan, target in ((first, mine), (second, theirs))
        if plan.dictionary is not None
    ]
    return all(
        one.shape == other.shape and torch.allclose(one, other, rtol=_COPIED, atol=0)
        for one, other in (rows, read)
    )
