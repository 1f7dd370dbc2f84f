"""What the questions of this folder share unless told otherwise."""

BUDGET = 512 * 2**20
"""Bytes of tensors beside the model."""
TEXT = "1:"
"""Every token but the first. Its massive activation sets off thousands of features that were not
trained on it: 5,061 of 6,144 at block 20 of the default model, against 746 at all other tokens."""
DRAWS = 8
"""Random and matched controls each, if nothing is said."""
