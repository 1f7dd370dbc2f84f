"""Figures of results, by plotly: an object in, a `Figure` out."""

from apps.figure_files import check as check
from apps.figure_files import save as save
from apps.plot_curves import dose_curves as dose_curves
from apps.plot_curves import patching_curves as patching_curves
from apps.plot_effects import agreement_scatter as agreement_scatter
from apps.plot_effects import downstream_bars as downstream_bars
from apps.plot_effects import effect_bars as effect_bars
from apps.plot_effects import effect_figure as effect_figure
from apps.plot_effects import lens_table as lens_table
from apps.plot_effects import path_bars as path_bars
from apps.plot_effects import token_bars as token_bars
from apps.plot_tree import causal_tree as causal_tree
