"""What is timed: one prompt."""

PROMPT = (
    "When Mary and John went to the store, John gave a drink to the man who had been waiting for "
    "them near the old door of the house with a red"
)
"""32 tokens of the default model."""
