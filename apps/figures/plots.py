"""Figures of results, by plotly: an object in, a `Figure` out."""

from apps.figures.curves import dose_curves as dose_curves
from apps.figures.curves import patching_curves as patching_curves
from apps.figures.effects import agreement_scatter as agreement_scatter
from apps.figures.effects import downstream_bars as downstream_bars
from apps.figures.effects import effect_bars as effect_bars
from apps.figures.effects import effect_figure as effect_figure
from apps.figures.effects import lens_table as lens_table
from apps.figures.effects import path_bars as path_bars
from apps.figures.effects import token_bars as token_bars
from apps.figures.files import check as check
from apps.figures.files import save as save
from apps.figures.tree import causal_tree as causal_tree
