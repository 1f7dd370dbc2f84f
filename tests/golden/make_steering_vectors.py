"""Makes `steering/`: the same two vectors as repeng and steering-vectors save them.

Run in an environment of their own (their pins are older than ours):

    pip install --no-deps repeng==0.4.0 steering-vectors==0.12.2
    pip install torch numpy gguf tqdm transformers scikit-learn
    python tests/golden/make_steering_vectors.py
"""

from __future__ import annotations

from pathlib import Path

import numpy
import torch

numpy.float_ = numpy.float64  # repeng 0.4.0 still asks for the name that NumPy 2 took away

from repeng import ControlVector  # noqa: E402
from steering_vectors import SteeringVector  # noqa: E402

FOLDER = Path(__file__).parent / "steering"


def main() -> None:
    """Two random vectors of width 32, for blocks 1 and 2."""
    FOLDER.mkdir(exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    vectors = {layer: torch.randn(32, generator=generator) for layer in (1, 2)}
    for layer, vector in vectors.items():
        numpy.save(FOLDER / f"{layer}.npy", vector.numpy())
    torch.save(vectors, FOLDER / "layer_activations.pt")
    torch.save(SteeringVector(vectors, "decoder_block"), FOLDER / "steering_vector.pt")
    arrays = {layer: vector.numpy() for layer, vector in vectors.items()}
    ControlVector(model_type="llama", directions=arrays).export_gguf(FOLDER / "repeng.gguf")


if __name__ == "__main__":
    main()
