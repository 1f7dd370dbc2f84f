"""Every causal language model that transformers knows, tiny: each site and job, right or refused.

`python -m tests.conformance` runs all of them and writes the table.
"""
