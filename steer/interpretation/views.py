"""What a detector may look at: the token, its ending, its shape, the one before, the one after.

A view sorts every position of a text into one of a number of groups; a detector is a few groups
of one view, so it can be read: `token " the"`, `ends in "ing"`, `after " of"`, `before "("`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_SHAPES: tuple[tuple[str, str], ...] = (
    ("a line break", r"\s*\n\s*"),
    ("blank", r"\s+"),
    ("a digit", r"\s?\d"),
    ("a number", r"\s?\d+"),
    ("an opening bracket", r"\s?[(\[{<]+"),
    ("a closing bracket", r"\s?[)\]}>]+[.,;:]*"),
    ("a quotation mark", r"\s?[\"'“”‘’`]+"),
    ("a sentence end", r"\s?[.!?]+"),
    ("a comma, colon or semicolon", r"\s?[,;:]"),
    ("other punctuation", r"\s?[^\w\s]+"),
    ("capitals", r"\s?[A-Z]{2,}"),
    ("a capitalised word", r"\s[A-Z][a-z]*"),
    ("a capitalised piece", r"[A-Z][a-z]*"),
    ("a lower-case word", r"\s[a-z]+"),
    ("a lower-case piece", r"[a-z]+"),
    ("an underscored name", r"\s?\w*_\w*"),
    ("not ASCII", r".*[^\x00-\x7f].*"),
)
_PATTERNS = [(name, re.compile(pattern, re.DOTALL)) for name, pattern in _SHAPES]


@dataclass(frozen=True, eq=False)
class Grouping:
    """A partition of the vocabulary: ids [V] (-1: in no group), and each group's name."""

    ids: Tensor
    names: tuple[str, ...]

    @classmethod
    def of(cls, keys: Sequence[str | None]) -> Grouping:
        """Of each token's group by name, None for those that are in no group."""
        names = sorted({key for key in keys if key is not None})
        number = {name: place for place, name in enumerate(names)}
        ids = torch.tensor([-1 if key is None else number[key] for key in keys])
        return cls(ids, tuple(names))


@dataclass(frozen=True)
class View:
    """The token `offset` places on, sorted by `grouping`; a detector has at most `limit` groups.

    phrase: how a detector of this view is read, with {} for its groups.
    grouping: a key of `groupings`, or `pair`: this token and the one before it together.
    """

    name: str
    grouping: str
    offset: int
    limit: int
    phrase: str


VIEWS = (
    View("token", "token", 0, 16, "token {}"),
    View("word", "word", 0, 16, "word {}, any case"),
    View("shape", "shape", 0, 3, "{}"),
    View("ending", "ending", 0, 4, "ends in {}"),
    View("long ending", "long ending", 0, 4, "ends in {}"),
    View("beginning", "beginning", 0, 4, "begins with {}"),
    View("previous token", "token", -1, 16, "after {}"),
    View("previous word", "word", -1, 16, "after {}, any case"),
    View("previous shape", "shape", -1, 3, "after {}"),
    View("two back", "token", -2, 16, "two after {}"),
    View("next token", "token", 1, 16, "before {}"),
    View("next word", "word", 1, 16, "before {}, any case"),
    View("next shape", "shape", 1, 3, "before {}"),
    View("pair", "pair", 0, 16, "{}"),
)
"""Simplest first: of two views that do equally well the first is taken."""


def groupings(texts: Sequence[str]) -> dict[str, Grouping]:
    """The partitions of a vocabulary, given the text of each token."""
    return {
        "token": Grouping(torch.arange(len(texts)), tuple(map(quoted, texts))),
        "word": Grouping.of([_word(text) for text in texts]),
        "shape": Grouping.of([_shape(text) for text in texts]),
        "ending": Grouping.of([_letters(text, 2, slice(-2, None)) for text in texts]),
        "long ending": Grouping.of([_letters(text, 4, slice(-3, None)) for text in texts]),
        "beginning": Grouping.of([_letters(text, 4, slice(0, 3)) for text in texts]),
    }


def quoted(text: str) -> str:
    """A token in double quotes, with line breaks and tabs as escapes."""
    return '"' + text.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r") + '"'


def positions(
    view: View, tokens: Tensor, partitions: dict[str, Grouping]
) -> tuple[Tensor, Callable[[int], str]]:
    """Each position's group, int64 [contexts, length], and the groups' names.

    -1 where the view looks outside the context, or at a token in no group.
    """
    if view.grouping == "pair":
        return _pairs(tokens.long(), partitions["token"])
    partition = partitions[view.grouping]
    ids = partition.ids[tokens.long()]
    return _shifted(ids, view.offset), partition.names.__getitem__


def _shifted(ids: Tensor, offset: int) -> Tensor:
    shifted = torch.full_like(ids, -1)
    if offset == 0:
        shifted = ids
    elif offset > 0:
        shifted[:, :-offset] = ids[:, offset:]
    else:
        shifted[:, -offset:] = ids[:, :offset]
    return shifted


def _pairs(tokens: Tensor, token: Grouping) -> tuple[Tensor, Callable[[int], str]]:
    """The pairs of neighbours that occur, numbered."""
    size = len(token.names)
    keys = tokens.clone()
    keys[:, 1:] += tokens[:, :-1] * size
    present, ids = keys[:, 1:].unique(return_inverse=True)
    pairs = torch.full_like(tokens, -1)
    pairs[:, 1:] = ids

    def name(group: int) -> str:
        key = int(present[group])
        return token.names[key // size][:-1] + token.names[key % size][1:]

    return pairs, name


def _word(text: str) -> str | None:
    word = text.strip().casefold()
    return quoted(word) if word else None


def _shape(text: str) -> str | None:
    return next((name for name, pattern in _PATTERNS if pattern.fullmatch(text)), None)


def _letters(text: str, least: int, part: slice) -> str | None:
    word = text.strip().casefold()
    return quoted(word[part]) if len(word) > least and word.isalpha() else None
