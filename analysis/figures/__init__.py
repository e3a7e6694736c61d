"""The figures: a data frame in, a plotly figure out, one function each.

Colour is the strategy and symbol is the source, everywhere and in every figure of a page (`Style`). Each figure is one small
panel that fits a phone; a page lays several out side by side. Backgrounds are transparent and no colour of text or grid is
set, so that a page can set them by theme.

A page can filter: a trace's `meta` says which target, size, strategy and source all of it is of; `points` the same of each
point, `whole` of all that it sums up (a fitted line), `grid` of each row and column of a map. `labels` in the layout's `meta`
says it of each annotation.

Names of domains are data from outside: plotly would render tags in them, so they pass through `style.escape`.
"""

from analysis.figures.fid_by_size import fid_by_size as fid_by_size
from analysis.figures.gain_by_distance import gain_by_distance as gain_by_distance
from analysis.figures.heat_maps import fid_by_class as fid_by_class
from analysis.figures.heat_maps import heat_map as heat_map
from analysis.figures.learning_curves import ENDS as ENDS
from analysis.figures.learning_curves import learning_curves as learning_curves
from analysis.figures.paper import PAPER as PAPER
from analysis.figures.paper import gain_by_size as gain_by_size
from analysis.figures.paper import paper_gain_by_distance as paper_gain_by_distance
from analysis.figures.stopping import stopping_audit as stopping_audit
from analysis.figures.style import NEUTRAL as NEUTRAL
from analysis.figures.style import Style as Style
from analysis.figures.style import ratio as ratio
