"""What `steer stability` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steer.shown import number

if TYPE_CHECKING:
    from apps.training.stability import StabilityReport


def stability_view(found: StabilityReport) -> str:
    """Shares, a histogram of cosines, and how well one more seed is foretold."""
    foretold = found.foretold
    bars = [
        f"  {low / 10:.1f}  {share:5.1%}  {'█' * round(40 * share)}"
        for low, share in enumerate(found.histogram)
    ]
    return "\n".join(
        [
            f"{found.dictionary} against {found.seeds} seeds of {found.samples:,} samples",
            f"{found.returning:.1%} of its features are likelier to come back than not; "
            f"{found.share:.0%} of a row lies in the span of the four nearest rows of a seed",
            "mean cosine of the nearest row, share of features:",
            *bars,
            f"which features the last seed has, from the others: AUROC {number(foretold.auroc)}, "
            f"calibration error {foretold.calibration:.3f} ({foretold.share:.1%} of "
            f"{foretold.features:,} came back)",
            *(
                ["the seeds saw fewer samples than it did: all of this is too low"]
                * found.too_short
            ),
            f"written: {found.written}/stability.safetensors",
        ]
    )
