"""What `steer stability` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from steer.shown import number

if TYPE_CHECKING:
    from apps.training.stability import StabilityReport


def stability_view(report: StabilityReport) -> str:
    """Shares, a histogram of cosines, and how well one more seed is foretold."""
    foretold = report.foretold
    bars = [
        f"  {low / 10:.1f}  {share:5.1%}  {'█' * round(40 * share)}"
        for low, share in enumerate(report.histogram)
    ]
    return "\n".join(
        [
            f"{report.dictionary} against {report.seeds} seeds of {report.samples:,} samples",
            f"{report.returning:.1%} of its features are likelier to come back than not; "
            f"{report.share:.0%} of a row lies in the span of the four nearest rows of a seed",
            "mean cosine of the nearest row, share of features:",
            *bars,
            *_densities(report.by_density),
            f"which features the last seed has, from the others: AUROC {number(foretold.auroc)}, "
            f"calibration error {foretold.calibration:.3f} ({foretold.share:.1%} of "
            f"{foretold.features:,} came back)",
            *(
                ["the seeds saw fewer samples than it did: all of this is too low"]
                * report.too_short
            ),
            f"written: {report.written}",
        ]
    )


def _densities(chances: Sequence[float]) -> list[str]:
    if not chances:
        return []
    rare, common, frequent, most = (f"{chance:.1%}" for chance in chances)
    return [
        f"mean chance of the rarest half {rare}, of the more frequent {common}, of the most "
        f"frequent tenth {frequent}, of the most frequent hundredth {most}"
    ]
