"""`steer reproduce NAME`: the paper's experiments, each a table, a plot and the JSON behind them.

An experiment is a module of this folder with `run(Settings) -> Table`, listed in `registry`.
What is expensive, a harvest or a trained dictionary, is a part kept in the cache under the digest
of what made it (`parts`), so a second run, or another experiment, takes it from there.
"""
