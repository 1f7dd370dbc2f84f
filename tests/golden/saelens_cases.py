"""Cases that are saved as inference classes: every architecture, bias and normalisation."""

from __future__ import annotations

from saelens_inputs import D_OUT, K
from saelens_writer import Writer, metadata


def write_standard_and_topk(writer: Writer) -> None:
    """ReLU, top-k and their input normalisations."""
    writer.inference("standard", "standard", "ReLU; b_dec subtracted from the input")
    writer.inference(
        "standard_no_b_dec",
        "standard",
        "ReLU; b_dec not subtracted",
        apply_b_dec_to_input=False,
    )
    writer.inference("topk", "topk", "top-k of the pre-activations, then ReLU", k=K)
    writer.inference(
        "topk_large_k",
        "topk",
        "k beyond the positive pre-activations: fewer than k active; b_dec not subtracted",
        k=18,
        apply_b_dec_to_input=False,
    )
    writer.inference(
        "topk_rescale",
        "topk",
        "rescale_acts_by_decoder_norm with the norms still in W_dec: features are norm-scaled",
        k=K,
        rescale_acts_by_decoder_norm=True,
    )
    for normalize in ("constant_norm_rescale", "layer_norm"):
        note = f"input normalised per token ({normalize}) and the reconstruction put back"
        for architecture, options in (("standard", {}), ("topk", {"k": K})):
            writer.inference(
                f"{architecture}_{normalize}",
                architecture,
                note,
                normalize_activations=normalize,
                **options,
            )
    writer.inference(
        "abstopk",
        "abstopk",
        "top-k by magnitude, signed features (no ReLU)",
        k=K,
    )


def write_jumprelu_and_gated(writer: Writer) -> None:
    """Thresholds and gates."""
    ties = "ties (pre-activation == threshold is inactive), a zero and a negative threshold"
    writer.inference("jumprelu", "jumprelu", f"b_dec subtracted; {ties}", ties=True)
    writer.inference(
        "jumprelu_no_b_dec",
        "jumprelu",
        f"b_dec not subtracted (as Gemma Scope); {ties}",
        ties=True,
        apply_b_dec_to_input=False,
    )
    writer.inference("gated", "gated", "gate and magnitude paths; no b_enc")


def write_transcoders(writer: Writer) -> None:
    """Other output widths, and skip connections that only ``forward`` applies."""
    about = {"hook_name": "blocks.3.ln2.hook_normalized", "hook_name_out": "blocks.3.hook_mlp_out"}
    for architecture in (
        "transcoder",
        "skip_transcoder",
        "jumprelu_transcoder",
        "jumprelu_skip_transcoder",
    ):
        skip = "; x @ W_skip.T is only in forward" if "skip" in architecture else ""
        writer.inference(
            architecture,
            architecture,
            f"d_out 6, never subtracts b_dec{skip}",
            d_out=D_OUT,
            apply_b_dec_to_input=False,
            metadata=metadata(**about),
            ties="jumprelu" in architecture,
        )
    for normalize in ("constant_norm_rescale", "layer_norm"):
        for architecture in ("transcoder", "jumprelu_skip_transcoder"):
            writer.inference(
                f"{architecture}_{normalize}",
                architecture,
                f"input normalised per token ({normalize}), not undone at the other site",
                d_out=D_OUT,
                apply_b_dec_to_input=False,
                metadata=metadata(**about),
                normalize_activations=normalize,
            )


def write_others(writer: Writer) -> None:
    """Classes that are no linear map, threshold and linear map."""
    writer.inference(
        "matching_pursuit",
        "matching_pursuit",
        "tied: only W_dec and b_dec; greedy pursuit, at most 4 steps",
        max_iterations=4,
    )
