"""Every error that the toolkit raises on purpose.

SteerError, a ValueError           the caller can put it right
├── ModelError                     unknown model, unsupported architecture
├── HookpointError                 a site that this model does not have
├── InterventionError              an edit that is malformed or does not fit
├── NonFiniteError                 an edit, or the model, that overflows
├── PromptError                    empty, too long, or otherwise unusable text
├── DictionaryError                a dictionary's use is wrong
│   ├── FormatError                a file that is no dictionary, or is damaged
│   │   └── TransposedError        a matrix that lies the other way round
│   └── NotSeparableError          TopK can't be encoded a feature at a time
└── RuntimeErrors too:
    ├── FetchError                 a download, checksum or disk-space failure
    ├── SilentEditError            an edit that never acted, when the caller asked to know
    └── TrainingError              a dictionary can't be trained from this
"""

from dictionaries.errors import (
    DictionaryError,
    FormatError,
    NotSeparableError,
    SteerError,
    TrainingError,
    TransposedError,
)


class ModelError(SteerError):
    """An unknown model, or one whose architecture can't be edited."""


class HookpointError(SteerError):
    """A site that this model does not have."""


class InterventionError(SteerError):
    """An edit that is malformed, or does not fit the dictionary or the model."""


class NonFiniteError(SteerError):
    """An edit, or the model by itself, gives NaN or infinity: a value too large for the dtype."""


class PromptError(SteerError):
    """Text that the model can't be run on."""


class FetchError(SteerError, RuntimeError):
    """A download, checksum or disk-space failure; nothing half-done is left in the cache."""


class SilentEditError(SteerError, RuntimeError):
    """An edit never acted, and the caller asked for that to be an error."""


__all__ = [
    "DictionaryError",
    "FetchError",
    "FormatError",
    "HookpointError",
    "InterventionError",
    "ModelError",
    "NonFiniteError",
    "NotSeparableError",
    "PromptError",
    "SilentEditError",
    "SteerError",
    "TrainingError",
    "TransposedError",
]
