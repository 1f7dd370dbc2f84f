"""Options that were typed and would do nothing: refused, lest it be thought that they acted."""

from __future__ import annotations

from dataclasses import dataclass, field

from apps.cli.options.gather import TYPED


@dataclass(frozen=True)
class Given:
    """What was typed of a command's options."""

    typed: tuple[str, ...] = field(default=(), kw_only=True, metadata={TYPED: True})
    """Such as `--clamp`, as often as each was typed, in that order."""

    def refuse(self, because: str, *options: str) -> None:
        """Raise `SteerError` if one of the options was typed; because: why it would do nothing."""
        from steer.errors import SteerError

        for option in options:
            if option in self.typed:
                raise SteerError(f"{option} would do nothing here: {because}")
