"""The figures as plain data, as the page takes them; `analysis.figures` returns the same as plotly's objects."""

from analysis.figures.fid_by_size import fid_by_size as fid_by_size
from analysis.figures.gain_by_distance import gain_by_distance as gain_by_distance
from analysis.figures.gain_intervals import gain_intervals as gain_intervals
from analysis.figures.heat_maps import fid_by_class as fid_by_class
from analysis.figures.heat_maps import heat_map as heat_map
from analysis.figures.learning_curves import learning_curves as learning_curves
from analysis.figures.learning_curves import of_points as of_points
from analysis.figures.paper import gain_by_size as gain_by_size
from analysis.figures.paper import paper_gain_by_distance as paper_gain_by_distance
from analysis.figures.stopping import stopping_audit as stopping_audit
