"""What every error of the toolkit is, and what can go wrong with a dictionary.

`steer.errors` draws the whole hierarchy.
"""


class SteerError(ValueError):
    """Something the caller can put right; the message says how. All errors of the toolkit."""


class DictionaryError(SteerError):
    """A dictionary, its file or its use is wrong; the message says what is allowed."""


class FormatError(DictionaryError):
    """A file is not a dictionary of a known format, or is damaged."""


class TransposedError(FormatError):
    """A matrix lies the other way round than its format has it."""


class NotSeparableError(DictionaryError):
    """The architecture ranks all features (TopK), so a subset can't be encoded alone."""


class TrainingError(SteerError, RuntimeError):
    """Training can't start or go on: bad settings or activations, a foreign checkpoint."""
