"""What a dictionary is: an encoder, a sparse activation, a decoder.

Every dictionary is held in one canonical form, whatever file it came from::

    x' , norm = normalise(x)                  per token, identity unless the config says otherwise
    f = activation(x' @ W_enc + b_enc)        features, [..., width]
    x̂ = denormalise(f @ W_dec + b_dec, norm)

A transcoder reads one site and writes another, `config.hookpoint_out`, and may add `x @ W_skip`.

A decoder bias that the encoder subtracts, decoder-norm rescaling and global input scales are
linear, so the loaders fold them into these four tensors and nothing downstream has to know.
Only per-token normalisation cannot be folded and stays explicit: its scale is returned beside
the features, so that an edit can be written back in the residual's own units.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
from torch import Tensor

from dictionaries.beside.statistics import FeatureStatistics
from dictionaries.config import DictionaryConfig, Norm
from dictionaries.errors import DictionaryError, NotSeparableError
from dictionaries.later import Later

if TYPE_CHECKING:
    from dictionaries.beside.labels import Labels
    from dictionaries.beside.stability import Stability

_LAYER_NORM_EPS = 1e-5
_SHORTEST = 1e-30
"""An activation of zeros stays that, as padding whose embedding is zeros: it has no direction."""


@dataclass(frozen=True, eq=False)
class Dictionary(ABC):
    """A trained sparse dictionary in canonical form.

    W_enc [d_in, width], b_enc [width], W_dec [width, d_out], b_dec [d_out].
    Decoder row i is the direction that feature i writes.
    card: what the training recorded; statistics: per feature; None if the folder has none.
    """

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    config: DictionaryConfig
    name: str = ""
    card: dict[str, Any] | None = None
    statistics: FeatureStatistics | None = None
    W_skip: Tensor | None = field(default=None, kw_only=True)
    """[d_in, d_out], a skip transcoder's linear part; it acts on the raw x."""
    later: Later | None = field(default=None, kw_only=True)
    """What the features of a cross-layer transcoder write at later blocks, beyond W_dec."""
    place: Path | None = field(default=None, kw_only=True)
    """Folder or file it was read from; None for some of its features, which have other numbers."""

    architecture: ClassVar[str]
    separable: ClassVar[bool] = True
    """Whether a feature's activation can be computed from its own encoder row alone."""
    reads_texts: ClassVar[bool] = False
    """Whether a token's features depend on the text before it: only `encode_texts` reads it."""

    def __post_init__(self) -> None:
        d, m = self.config.d_in, self.config.width
        _check_shape("W_enc", self.W_enc, (d, m))
        d_out = d if self.config.d_out is None else self.config.d_out
        _check_shape("W_dec", self.W_dec, (m, d_out))
        _check_shape("b_dec", self.b_dec, (d_out,))
        if self.W_skip is not None:
            _check_shape("W_skip", self.W_skip, (d, d_out))
        if self.later is not None:
            _check_shape("later", self.later.W_dec, (m, len(self.later.hookpoints), d_out))
        for name in self.feature_vectors():
            _check_shape(name, getattr(self, name), (m,))

    @abstractmethod
    def activate(self, pre: Tensor) -> Tensor:
        """Pre-activations [..., width] -> features [..., width]."""

    @classmethod
    def feature_vectors(cls) -> tuple[str, ...]:
        """Names of the tensors with one entry a feature."""
        return ("b_enc",)

    @classmethod
    def tensor_names(cls) -> tuple[str, ...]:
        return ("W_enc", "W_dec", "b_dec", *cls.feature_vectors())

    @property
    def width(self) -> int:
        return self.config.width

    @property
    def is_transcoder(self) -> bool:
        """Whether it writes another site than it reads."""
        return self.config.d_out is not None

    @property
    def dtype(self) -> torch.dtype:
        return self.W_enc.dtype

    @property
    def labels(self) -> Labels:
        """What its features are said to mean, read from beside it when asked for; may be empty."""
        # here, since a dictionary travels to servers with its source, and their cache can't
        from dictionaries.beside.by_hand import labels_at
        from dictionaries.beside.labels import Labels

        return Labels() if self.place is None else labels_at(self.place)

    @property
    def stability(self) -> Stability | None:
        """How surely its features come back with another seed; None if nobody trained others."""
        from dictionaries.beside.stability import Stability

        return None if self.place is None else Stability.load(self.place)

    def normalise(self, x: Tensor) -> tuple[Tensor, Norm]:
        """x [..., d_in] -> (x' [..., d_in], how to undo it). Formulae: SAELens `sae.py`.

        A transcoder's outputs are in the units of the site that it writes, whatever its input was
        divided by: there is nothing to undo. SAELens `transcoder.py`.
        """
        normed, norm = self._normalise(x)
        return normed, Norm() if self.is_transcoder else norm

    def _normalise(self, x: Tensor) -> tuple[Tensor, Norm]:
        match self.config.normalisation:
            case "constant_norm_rescale":
                length = x.norm(dim=-1, keepdim=True).clamp(min=_SHORTEST)
                coefficient = self.config.d_in**0.5 / length
                return x * coefficient, Norm(scale=1 / coefficient)
            case "layer_norm":
                mean = x.mean(dim=-1, keepdim=True)
                centred = x - mean
                std = centred.std(dim=-1, keepdim=True)
                return centred / (std + _LAYER_NORM_EPS), Norm(scale=std, shift=mean)
            case _:
                return x, Norm()

    def encode(self, x: Tensor) -> tuple[Tensor, Norm]:
        """x [..., d_in] -> (features [..., width], norm), in the dictionary's dtype."""
        normed, norm = self.normalise(x.to(self.dtype))
        return self.activate(normed @ self.W_enc + self.b_enc), norm

    def encode_texts(self, x: Tensor, real: Tensor | None = None) -> tuple[Tensor, Norm]:
        """`encode` of whole texts: x [b, s, d_in]; real [b, s] is False at padding, if any.

        The same as `encode`, but for dictionaries that read a token in its text.
        """
        return self.encode(x)

    def decode(self, features: Tensor, norm: Norm | None = None) -> Tensor:
        """features [..., width] -> reconstruction [..., d_out] in the residual's units.

        Without a skip transcoder's linear part, which is of x and not of the features.
        Raises `DictionaryError` for a partial dictionary.
        """
        if self.config.partial:
            raise DictionaryError(
                f"{self.name or 'this dictionary'} writes a part of {self.config.hookpoint_out} "
                "alone, earlier blocks of its cross-layer transcoder the rest: its features can "
                "be read and edited, but nothing can be reconstructed from them alone"
            )
        return self.written(features, norm)

    def written(self, features: Tensor, norm: Norm | None = None) -> Tensor:
        """`decode`, for a partial dictionary too: what is written to its own site."""
        return (norm or Norm()).undo(features @ self.W_dec + self.b_dec)

    def reconstruct(self, x: Tensor) -> Tensor:
        """decode(encode(x)), plus a skip transcoder's x @ W_skip, cast back to x's dtype."""
        return self._reconstructed(x, *self.encode(x))

    def reconstruct_texts(self, x: Tensor, real: Tensor | None = None) -> Tensor:
        """`reconstruct` of whole texts, see `encode_texts`."""
        return self._reconstructed(x, *self.encode_texts(x, real))

    def _reconstructed(self, x: Tensor, features: Tensor, norm: Norm) -> Tensor:
        decoded = self.decode(features, norm)
        if self.W_skip is not None:
            decoded = decoded + x.to(self.dtype) @ self.W_skip
        return decoded.to(x.dtype)

    def check_features(self, features: Sequence[int]) -> None:
        """Raise `DictionaryError` for a feature that is no whole number in 0..width-1."""
        for feature in features:
            if isinstance(feature, bool) or not hasattr(feature, "__index__"):
                raise DictionaryError(f"a feature is a whole number, not {feature!r}")
            if not 0 <= feature < self.width:
                raise DictionaryError(
                    f"feature {feature} is out of range: {self.name or 'this dictionary'} has "
                    f"features 0 to {self.width - 1}"
                )

    def restrict(self, features: Sequence[int]) -> Self:
        """The same dictionary with only these features, in this order.

        Its encode equals the full encode's columns, at the cost of those columns.
        Raises `NotSeparableError` for architectures that rank all features.
        """
        if not self.separable:
            raise NotSeparableError(
                f"{self.architecture} ranks all pre-activations, so features "
                f"{list(features)[:8]} can't be encoded alone; encode with the whole dictionary"
            )
        self.check_features(features)
        index = torch.as_tensor(list(features), dtype=torch.long, device=self.W_enc.device)
        rows = {name: getattr(self, name)[index] for name in self.feature_vectors()}
        return replace(
            self,
            W_enc=self.W_enc[:, index],
            W_dec=self.W_dec[index],
            later=self.later and self.later.restrict(index),
            statistics=None,
            place=None,
            config=replace(self.config, width=len(index)),
            **rows,
        )

    def to(
        self, device: str | torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """A copy on another device or in another floating dtype."""
        names = (*self.tensor_names(), *(() if self.W_skip is None else ("W_skip",)))
        moved = {name: getattr(self, name).to(device=device, dtype=dtype) for name in names}
        return replace(self, **moved, later=self.later and self.later.to(device, dtype))

    def __repr__(self) -> str:
        extra = [f.name for f in fields(self) if f.name in ("k",)]
        shown = "".join(f", {name}={getattr(self, name)}" for name in extra)
        return (
            f"{type(self).__name__}({self.name or 'unnamed'}, hookpoint={self.config.hookpoint}, "
            f"d_in={self.config.d_in}, width={self.width}{shown})"
        )


def _check_shape(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tuple(tensor.shape) != expected:
        raise DictionaryError(
            f"{name} has shape {list(tensor.shape)}, expected {list(expected)}: the file is "
            "damaged, transposed, or for another width"
        )
