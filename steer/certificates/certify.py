"""A verdict on a released dictionary, beside what is published of it.

It measures what `steer.quality.check` measures, with the same functions, and compares that with the
published figures and with recorded activations. Where they do not agree, the readings that a check
tries say in what the release deviates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dictionaries import catalogue
from dictionaries.config import DictionaryConfig
from dictionaries.dictionary import Dictionary
from steer.certificates.certificate import Certificate, digests
from steer.certificates.evidence import Tokens, far, near, rounded
from steer.certificates.facts import facts
from steer.certificates.published import Published, read_published
from steer.certificates.recorded import Records
from steer.certificates.verdict import Case, Verdict, decide
from steer.errors import DictionaryError, FormatError, TransposedError
from steer.features.contexts import adds_bos, contexts
from steer.features.norm_gain import after_gain
from steer.lm.language_model import LanguageModel
from steer.quality.check import refuse_other_model
from steer.quality.conventions import AS_LOADED
from steer.quality.cost import cost
from steer.quality.docstrings import docstrings
from steer.quality.tried import Subject, sparse_enough

_TOLERANCES = {"float32": 1e-3, "float16": 1e-2, "bfloat16": 5e-2, "float64": 1e-3}
"""Of recorded activations, by the dtype that the model was read in; of none said, the widest."""


def certify(
    model: LanguageModel,
    dictionary: Dictionary | str | Path,
    published: Published | str | Path,
    texts: Sequence[str] | None = None,
) -> Certificate:
    """Whether a dictionary is, here, what is published of it; if not, in what it deviates.

    published: a file as `read_published` takes it.
    texts: what to read for figures; the published texts, or Python's docstrings, if None.

    Raises `FormatError` for a published file, or a dictionary, that can't be read, and
    `DictionaryError` for a dictionary that is plainly of another model.
    """
    said = published if isinstance(published, Published) else read_published(published)
    if texts is not None and said.texts is not None:
        raise FormatError(f"{said.path} holds the texts that its figures are of: give no others")
    try:
        loaded = dictionary if isinstance(dictionary, Dictionary) else catalogue.load(dictionary)
    except TransposedError as error:
        place = catalogue.find(str(dictionary))
        reason = str(error).replace(f"{place.parent}/", "")  # it is to be sent
        verdict = Verdict("deviates", "transposed", None, reason)
        return _unmeasured(model, str(dictionary), said, verdict, place)
    named = _at_published_site(loaded, said)
    if named.config.hookpoint is None:
        verdict = Verdict("undecided", reason="the site, which neither the file nor what is "
                          "published says")  # fmt: skip
        return _unmeasured(model, named.name or "unnamed", said, verdict, named.place)
    ours = after_gain(model, named)
    subject = Subject.of(model, ours, *refuse_other_model(model, ours))
    tokens = _tokens(model, named.config, said, texts)
    if tokens.records is not None:
        ours.check_features(tokens.records.features)
    return _compared(subject, named, said, tokens)


def _compared(subject: Subject, named: Dictionary, said: Published, tokens: Tokens) -> Certificate:
    """named: the dictionary as its file has it."""
    model, seen = subject.model, near(subject, tokens, said.site)
    here, as_loaded, records = subject.here(tokens.ids), seen[AS_LOADED], tokens.records
    spliced = cost(subject, tokens.ids, here)
    measured = {**as_loaded.measured(), "delta_ce": spliced.delta}
    measured |= {} if spliced.recovered is None else {"ce_score": spliced.recovered}
    stated = {name: figure.value for name, figure in said.figures.items()}
    case = Case(
        said=said,
        facts=tuple(facts(named, said, records, as_loaded.off)),
        measured=measured,
        tolerance=_tolerance(said, model, records),
        most=sparse_enough(named, stated),
        model_dtype=model.precision,
        seen=seen,
        far=lambda: far(subject, tokens),
        rounded=lambda: rounded(subject, tokens, as_loaded),
    )
    return Certificate(
        verdict=decide(case),
        dictionary=named.name or "unnamed",
        hookpoint=subject.source,
        architecture=named.architecture,
        model=model.name,
        fingerprint=model.fingerprint,
        dtype=model.precision,
        tokens=here.keep.numel() if tokens.massive else here.tokens,
        source=said.source,
        facts=case.facts,
        figures=said.figures,
        measured=measured,
        off=as_loaded.off,
        tolerance=None if as_loaded.off is None else case.tolerance,
        recorded=0 if records is None else int(records.known.sum()),
        readings=seen,
        files={} if named.place is None else digests(named.place),
        published_sha256=digests(said.path)[said.path.name],
    )


def _unmeasured(
    model: LanguageModel, name: str, said: Published, verdict: Verdict, place: Path | None
) -> Certificate:
    """Of a dictionary that can't be laid on the model."""
    return Certificate(
        verdict=verdict,
        dictionary=name,
        hookpoint=said.site,
        architecture=None,
        model=model.name,
        fingerprint=model.fingerprint,
        dtype=model.precision,
        tokens=0,
        source=said.source,
        facts=(),
        figures=said.figures,
        measured={},
        off=None,
        tolerance=None,
        recorded=0,
        readings={},
        files={} if place is None else digests(place),
        published_sha256=digests(said.path)[said.path.name],
    )


def _at_published_site(dictionary: Dictionary, said: Published) -> Dictionary:
    """With the published sites where the file says none."""
    config = dictionary.config
    out = config.hookpoint_out or (said.site_out if dictionary.is_transcoder else None)
    config = replace(config, hookpoint=config.hookpoint or said.site, hookpoint_out=out)
    return replace(dictionary, config=config)


def _tokens(
    model: LanguageModel,
    config: DictionaryConfig,
    said: Published,
    texts: Sequence[str] | None,
) -> Tokens:
    bos = said.prepend_bos
    if bos is None:
        of_file = dict(config.metadata).get("prepend_bos")
        bos = of_file if isinstance(of_file, bool) else adds_bos(model)
    if bos and model.tokenizer.bos_token_id is None:
        raise DictionaryError(f"texts are to begin with a BOS, and {model.name} has none")
    read = texts if texts is not None else said.texts or docstrings()
    records = Records.of(model, said.activations, bos=bos) if said.activations else None
    if records is not None and not bool(records.values.any()):
        records = None
    return Tokens(contexts(model, read, bos=bos), records, said.massive_tokens)


def _tolerance(said: Published, model: LanguageModel, records: Records | None) -> float:
    """Of recorded activations: as published, or what the coarsest arithmetic may differ by."""
    if said.activation_tolerance is not None:
        return said.activation_tolerance
    widest = max(_TOLERANCES.values())
    dtypes = (said.model_dtype or "unsaid", model.precision)
    allowed = max(_TOLERANCES.get(dtype, widest) for dtype in dtypes)
    return allowed if records is None else max(allowed, records.grain)
