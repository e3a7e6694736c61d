"""Figures of the report: each function takes a data frame and returns one plotly figure.

In all figures of a page colour is the strategy, and the symbol of a point its source (`Style`); lines are named at their ends
(`direct_labels`). Each figure is one small panel that fits on a phone; a page arranges several side by side. Backgrounds are
transparent and colours of text and grid are left unset, so that a page can set them by theme.

For the page's filters a trace's `meta` names the target, size, strategy and source that hold for the whole trace; `points` does
so for each point, `whole` for all points that a fitted line summarises, and `grid` for each row and column of a map. `labels`
in the layout's `meta` does so for each annotation.

Names of domains are untrusted text that plotly would interpret as HTML; `style.escape` escapes them.
"""

from analysis.figures.fid_by_size import fid_by_size as fid_by_size
from analysis.figures.gain_by_distance import gain_by_distance as gain_by_distance
from analysis.figures.gain_intervals import gain_intervals as gain_intervals
from analysis.figures.heat_maps import fid_by_class as fid_by_class
from analysis.figures.heat_maps import heat_map as heat_map
from analysis.figures.learning_curves import ENDS as ENDS
from analysis.figures.learning_curves import learning_curves as learning_curves
from analysis.figures.paper import PAPER as PAPER
from analysis.figures.paper import gain_by_size as gain_by_size
from analysis.figures.paper import paper_gain_by_distance as paper_gain_by_distance
from analysis.figures.stopping import stopping_audit as stopping_audit
from analysis.figures.style import NEUTRAL as NEUTRAL
from analysis.figures.style import PALETTE as PALETTE
from analysis.figures.style import Style as Style
from analysis.figures.style import ratio as ratio
