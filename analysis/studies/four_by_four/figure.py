"""The figure of the sweep: gains by target, size, strategy and source."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis.studies.four_by_four.claims import gain, means
from analysis.studies.four_by_four.results import Results

#: Colours that are told apart with any colour vision (Okabe & Ito), and shapes, by source in alphabetical order.
_COLOURS, _SHAPES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), ("circle", "square", "diamond", "triangle-up")


def draw(results: Results) -> go.Figure:
    """Draw FID from scratch over FID of each transfer at the last step, a panel per target and size."""
    gains = gain(means(results.curves))
    gains = gains[gains["step"] == gains["step"].max()].assign(ratio=lambda rows: 2 ** rows["gain"])
    targets, sizes = sorted(gains["target"].unique()), sorted(gains["size"].unique())
    names = sorted(gains["source"].unique())
    titles = [f"{target}, {size} images" for size in sizes for target in targets]
    in_legend: set[str] = set()
    figure = make_subplots(len(sizes), len(targets), shared_yaxes="all", subplot_titles=titles, vertical_spacing=0.14)
    for row, size in enumerate(sizes, 1):
        for column, target in enumerate(targets, 1):
            panel = gains[(gains["target"] == target) & (gains["size"] == size)]
            for number, source in enumerate(names):
                of_source = panel[panel["source"] == source].sort_values("strategy")
                if len(of_source):
                    marker = {"color": _COLOURS[number], "symbol": _SHAPES[number], "size": 10}
                    figure.add_scatter(
                        x=of_source["strategy"], y=of_source["ratio"], mode="markers", marker=marker, name=source,
                        legendgroup=source, showlegend=source not in in_legend, row=row, col=column,
                    )  # fmt: skip
                    in_legend.add(source)
            figure.add_hline(y=1, line={"color": "#555", "dash": "dot", "width": 1}, row=row, col=column)
    figure.update_yaxes(type="log", tickvals=[0.5, 1, 2, 4, 8])
    figure.update_yaxes(title_text="FID scratch / FID transfer", col=1)
    figure.update_layout(template="simple_white", width=1100, height=620, legend_title_text="source", font_size=12)
    return figure
