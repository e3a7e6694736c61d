"""Figures of the report: each function takes a data frame and returns one plotly figure.

In all figures of a page colour is the strategy, and the symbol of a point its source (`Style`); lines are named at their ends
(`direct_labels`). Each figure is one small panel that fits on a phone; a page arranges several side by side. Backgrounds are
transparent and colours of text and grid are left unset, so that a page can set them by theme.

For the page's filters a trace's `meta` names the target, size, strategy and source that hold for the whole trace; `points` does
so for each point, `whole` for all points that a fitted line summarises, and `grid` for each row and column of a map. `labels`
in the layout's `meta` does so for each annotation.

Names of domains are untrusted text that plotly would interpret as HTML; `style.escape` escapes them.
"""

from analysis.figures import drawings
from analysis.figures.drawing import as_plotly
from analysis.figures.learning_curves import ENDS as ENDS
from analysis.figures.paper import PAPER as PAPER
from analysis.figures.style import NEUTRAL as NEUTRAL
from analysis.figures.style import PALETTE as PALETTE
from analysis.figures.style import Style as Style
from analysis.figures.style import ratio as ratio

fid_by_class = as_plotly(drawings.fid_by_class)
fid_by_size = as_plotly(drawings.fid_by_size)
gain_by_distance = as_plotly(drawings.gain_by_distance)
gain_by_size = as_plotly(drawings.gain_by_size)
gain_intervals = as_plotly(drawings.gain_intervals)
heat_map = as_plotly(drawings.heat_map)
learning_curves = as_plotly(drawings.learning_curves)
paper_gain_by_distance = as_plotly(drawings.paper_gain_by_distance)
stopping_audit = as_plotly(drawings.stopping_audit)
