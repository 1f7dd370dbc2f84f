"""Conditions, schedules and positions as a person types them, on the command line or in a page.

7                         feature 7 is active at this token
7 > 2.5                   its activation is above 2.5
seen 3                    feature 3 has been active so far in the text
7 and not (seen 3 or 12)  combined; & | ~ mean the same

first 5, after 3, ramp 10, decay 8     tokens, as in `steer.edits.schedules`

all, prompt, generated, last, text     positions, as in `steer.edits.positions`
3, -1, 2:5, 1:, 1, 4, 7                a position, a slice, several positions
tokens " cat", " dog", 262             tokens by text or id
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from steer.edits.conditions import Active, And, Condition, Leaf, Not, Or, Seen
from steer.edits.positions import NAMED, Canonical, Positions, Rows, Tokens, canonical
from steer.edits.schedules import SCHEDULES, Schedule, schedule_from_dict
from steer.errors import InterventionError

_TOKEN = re.compile(r"\s*(\d+(?:\.\d+)?(?:e[+-]?\d+)?|[a-z]+|[()>&|~!#-])", re.IGNORECASE)
_SAME = {"&": "and", "|": "or", "~": "not", "!": "not"}
_DEEPEST = 50
"""Levels that a typed condition may be nested."""
_EXAMPLES = "7, 7 > 2.5, seen 3, 7 and not seen 3"


def parse_condition(text: str) -> Condition:
    """Inverse of `show_condition`. Raises `InterventionError` that says where it breaks off."""
    return _Reader(_typed(text)).whole()


def show_condition(condition: Condition) -> str:
    """The condition in words."""
    match condition:
        case Leaf():
            above = f" > {condition.above:.17g}" if condition.above else ""
            return ("seen " if isinstance(condition, Seen) else "") + f"{condition.feature}{above}"
        case Not(of):
            return f"not {_inner(of)}"
        case And(of) | Or(of):
            return f" {condition.kind} ".join(map(_inner, of))
    raise TypeError(f"{type(condition).__name__} has no words")


def parse_schedule(text: str) -> Schedule:
    """Inverse of `show_schedule`. Raises `InterventionError`."""
    kind, _, n = _typed(text).strip().lower().partition(" ")
    if kind not in SCHEDULES or not n.strip().isdecimal():
        raise InterventionError(
            f"the schedule {text!r} is not understood; write one of "
            f"{', '.join(SCHEDULES)} and a number of tokens, such as: first 5"
        )
    return schedule_from_dict({"kind": kind, "n": int(n)})


def show_schedule(schedule: Schedule) -> str:
    """The schedule in words."""
    return f"{schedule.kind} {schedule.n}"


def parse_positions(text: str) -> Canonical:
    """Inverse of `show_positions`. Raises `InterventionError`."""
    plain = _typed(text).strip()
    if tokens := re.fullmatch(r"tokens?\b(.*)", plain, re.DOTALL):
        return Tokens(*_typed_tokens(tokens[1]))
    if re.fullmatch(r"-?\d+", plain):
        return int(plain)
    if re.fullmatch(r"-?\d+(\s*,\s*-?\d+)+", plain):
        return tuple(int(part) for part in plain.split(","))
    if plain not in NAMED and not re.fullmatch(r"(-?\d+)?:(-?\d+)?(:\d+)?", plain):
        raise InterventionError(
            f"the tokens {plain!r} are not understood; write {', '.join(NAMED)}, 3, 2:5, 1, 4, 7 "
            'or tokens " cat", " dog"'
        )
    return canonical(plain)


def show_positions(given: Positions) -> str:
    """The positions in words. Raises `InterventionError` for those of several rows."""
    positions = canonical(given)
    if isinstance(positions, Rows):
        raise InterventionError(f"{positions!r} are for several rows, which have no words")
    if isinstance(positions, Tokens):
        return f"tokens {json.dumps(positions.tokens, ensure_ascii=False)[1:-1]}"
    return ", ".join(map(str, positions)) if isinstance(positions, tuple) else str(positions)


def _typed_tokens(text: str) -> list[str | int]:
    try:
        tokens: list[str | int] = json.loads(f"[{text}]")
    except json.JSONDecodeError:
        tokens = []
    if not tokens:
        raise InterventionError(
            f"the tokens {text.strip()!r} are not understood; write them in quotes, with the space "
            'that a word begins with: tokens " cat", " dog"'
        )
    return tokens


def _typed(text: object) -> str:
    if not isinstance(text, str):
        raise InterventionError(f"what is typed is a text such as 'last', '7 > 2.5', not {text!r}")
    return text


def _inner(condition: Condition) -> str:
    shown = show_condition(condition)
    return shown if isinstance(condition, Leaf | Not) else f"({shown})"


class _Reader:
    """Recursive descent: or, and, not, then a feature or parentheses."""

    def __init__(self, text: str) -> None:
        self.text, self.place, self.depth = text, 0, 0

    def whole(self) -> Condition:
        condition = self._several("or")
        if self._next():
            raise self._lost("and, or, or the end")
        return condition

    def _several(self, word: str) -> Condition:
        def part() -> Condition:
            return self._several("and") if word == "or" else self._one()

        parts = [part()]
        while self._take(word):
            parts.append(part())
        if len(parts) == 1:
            return parts[0]
        return Or(tuple(parts)) if word == "or" else And(tuple(parts))

    def _one(self) -> Condition:
        if self._take("not"):
            return Not(self._within(self._one))
        if self._take("("):
            condition = self._within(lambda: self._several("or"))
            if not self._take(")"):
                raise self._lost("a closing parenthesis")
            return condition
        kind = Seen if self._take("seen") else Active
        if kind is Active:
            self._take("active")
        self._take("#")
        feature = self._next()
        if not feature.isdecimal():
            raise self._lost("a feature's number")
        self._take(feature)
        return kind(int(feature), self._number() if self._take(">") else 0.0)

    def _within(self, read: Callable[[], Condition]) -> Condition:
        """A level deeper. Raises before Python's own limit, at which nothing more can be said."""
        if self.depth == _DEEPEST:
            raise InterventionError(f"the condition is nested deeper than {_DEEPEST} levels")
        self.depth += 1
        condition = read()
        self.depth -= 1
        return condition

    def _number(self) -> float:
        sign = -1 if self._take("-") else 1
        word = self._next()
        if not word[:1].isdigit():
            raise self._lost("an activation")
        self._take(word)
        return sign * float(word)

    def _next(self) -> str:
        match = _TOKEN.match(self.text, self.place)
        if not match:
            return self.text[self.place :].strip()
        word = match[1].lower()
        return _SAME.get(word, word)

    def _take(self, word: str) -> bool:
        match = _TOKEN.match(self.text, self.place)
        if not match or self._next() != word:
            return False
        self.place = match.end()
        return True

    def _lost(self, wanted: str) -> InterventionError:
        there = self.text[self.place :].strip()
        instead = f"found {there!r}" if there else "the text ends"
        return InterventionError(
            f"the condition {self.text!r} is not understood: {wanted} was expected and {instead}; "
            f"write for example: {_EXAMPLES}"
        )
