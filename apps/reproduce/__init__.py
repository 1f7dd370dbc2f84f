"""`steer reproduce NAME`: the paper's experiments, each a table, a plot and the JSON behind them.

An experiment is a folder with `experiment.py`, whose `run(Settings)` measures, and `table.py`,
which says what was found (`modules`); `registry` lists them. What is expensive, a harvest or a
trained dictionary, is a part kept in the cache under the digest of what made it (`kept`), so a
second run, or another experiment, takes it from there.
"""
