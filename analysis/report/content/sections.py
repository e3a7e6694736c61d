"""The report's sections in order: `SECTIONS`, each with its title, its text and the functions that build its blocks.

The page and the Markdown both render what `walk` yields, so a section is described here once. To add one, write its function in
a file of this folder and add a `Section` here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from analysis.frames import STATUSES
from analysis.report.blocks import Block, Fold, Heading, Paragraph, Report, Text
from analysis.report.content import csv_files, panels, prediction_tables, provenance, tables, trials, tuning
from analysis.report.sentences import answers
from analysis.statistics import Analysis
from trainers.common.counts import counted


def _none(*_: object) -> Iterable[Block]:
    return ()


@dataclass(frozen=True)
class Section:
    """A section; without blocks it is left out, and what it needs is listed at the end."""

    id: str
    """Its address within the page."""
    title: str
    """The question that it answers, where it answers one."""
    text: Text = ""
    legend: Text = ""
    """How to read the figures; Markdown leaves it out."""
    whole: Callable[[Report], Iterable[Block]] = _none
    """Blocks about the whole report."""
    figures: Callable[[Report, Analysis], Iterable[Block]] = _none
    """Figures in one embedding; only the page calls this."""
    each: Callable[[Report, Analysis], Iterable[Block]] = _none
    """Other blocks about one embedding."""
    needs: str = ""
    """The data that would fill it, as the end of a sentence; nothing is missed in a section without it."""
    nav: str = ""
    """Its name in the page's navigation, if not the title."""
    folded: bool = False
    """Whether a phone shows its title alone until it is pressed."""


SECTIONS = (
    Section("answer", "The answer", whole=answers.no_answer, each=answers.answer, nav="Answer"),
    Section(
        "curves",
        "How fast does each start learn?",
        legend="Lower is better. Each figure has the strategies from one source, and training from scratch as a thick dashed "
        "grey line; all figures of a cell have the same axes, with equal steps from rung to rung, where all trials are "
        "measured and the stopping rule may act. A line is the mean over seeds, its band reaches from the lowest to the "
        "highest. A line that ends before its budget ends in a mark. The dotted line is FID of real images, where it is near.",
        figures=panels.learning_curves,
        needs="a trial with a finite FID at two steps",
        nav="Learning curves",
    ),
    Section(
        "samples",
        "What do the images look like?",
        legend="Real images of the target, samples of scratch, and samples of the best transfer of each strategy, after "
        "equally many steps. All grids of a cell are drawn from the same latents: images at the same place of two grids "
        "come from the same random numbers. No image is selected; of several seeds, the trial with the lowest FID is shown.",
        figures=lambda report, analysis: report.samples.get(analysis.embedding, ()),
        needs="sample grids in the store",
        nav="Samples",
    ),
    Section(
        "copies",
        "Are the images copies of training images?",
        legend="Samples of the best start of each cell, and at the same places the training images to which they are nearest "
        "by the features of the embedding. A sample that looks like its neighbour in every detail is a copy. "
        "Memorisation, under Beyond FID, measures this over all samples.",
        figures=lambda report, analysis: report.copies.get(analysis.embedding, ()),
        needs="nearest training images, which trials of this version store at each rung, with at most 10,000 training images",
        nav="Copies",
        folded=True,
    ),
    Section(
        "size",
        "How much do more images help?",
        legend="FID at the full budget by number of training images; stopped trials are left out. A dotted line connects a "
        "transfer with the number of images at which scratch would be as good; an arrow means that scratch was not as good at "
        "any of its sizes.",
        figures=panels.fid_by_size,
        needs="a transfer that ran its full budget with two sizes of one target",
        nav="Size",
    ),
    Section(
        "savings",
        "What does a pre-trained start save?",
        "How many times as many images, and how many times as many steps, training from scratch needs for the same FID: each "
        "strategy with its best source.",
        each=tables.savings,
        needs="scratch and a transfer with a step in common",
        nav="Savings",
    ),
    Section(
        "heat",
        "Which source for which target?",
        "Gain is FID from scratch divided by FID of the transfer, in the same cell at the same step. Above ×1 transfer has the "
        "lower FID. The table Ranking says which gains are told apart from ×1.",
        "Blue is a gain above 1×, orange below. Each strategy is shown at its cell's first rung (early gain) and at its final "
        "step.",
        figures=panels.heat_maps,
        each=prediction_tables.sources,
        needs="two sources, or two cells, measured at the same step as scratch",
        nav="Gain",
    ),
    Section(
        "distance",
        "Does distance predict the gain?",
        "Does the distance between the source's and the target's real images, known before any training, predict the gain?",
        "All points of a figure are taken at one step. Dashed: scratch.",
        figures=panels.gain_by_distance,
        each=prediction_tables.distances,
        needs="three sources with a distance to one target and a gain",
        nav="Distance",
    ),
    Section(
        "knobs",
        "Should a source be dense, diverse or large?",
        "Effect of the sources' knobs on the gain: the factor by which the gain changed, with its 95 % interval. Settings of "
        "one domain are compared as sources, each by its mean over seeds. Diversity is the number "
        "of classes, density the number of images per class, amount their product; exchanging one for the other keeps "
        "the amount.",
        each=prediction_tables.knobs,
        needs="sources that differ in a knob, such as letters[classes=4]",
        nav="Density",
    ),
    Section(
        "classes",
        "Which classes gain?",
        legend="FID of each class of a conditional generator: images generated for a class against the reference images of "
        "that class, and the mean over the classes (intra-FID). Blue is lower than from scratch, orange higher. All values of "
        "a figure are taken at one step, the last that all its trials reached.",
        figures=panels.fid_by_class,
        needs="conditional trials",
        nav="Classes",
    ),
    Section(
        "ranking",
        "How does each start compare with scratch?",
        "The methods of each cell by FID at the cell's final step, its geometric mean over seeds. Gain is FID from scratch "
        "divided by FID of the transfer. Each transfer is compared with scratch by Welch's t-test of log FID: the variance "
        "of scratch is separate, the transfers share one, and the error of the reference images is included where it is "
        "stored. Where a source was trained several times, the seeds that start from one of its trainings count once. p is "
        "corrected for all comparisons of the report by Holm's method, and so are the 95 % intervals: they are wider than for "
        "one comparison alone.",
        each=tables.ranking,
        needs="an adapt trial with a finite FID",
        nav="Ranking",
        folded=True,
    ),
    Section(
        "strategies",
        "Which strategy, from the same source?",
        "For each source, nearest first, every strategy against the first one: the ratio of their FIDs at the cell's final "
        "step, with its 95 % interval, which holds for all sources and strategies of the report together (Tukey's test, "
        "corrected for the number of sources and cells). In bold: told apart from the first; no other one is.",
        each=tables.strategies,
        needs="two strategies from one source",
        nav="Strategies",
        folded=True,
    ),
    Section(
        "quality",
        "Is it better by other metrics?",
        "Every metric of scratch and of each strategy with its best source, at the last step that all seeds of the method "
        "reached. A low FID can come from copied training images (memorisation well above 0.5) or from few kinds of images "
        "(low recall, coverage and diversity). After ±: 1.96 standard errors from the sampling of images; the spread between "
        "seeds is not included.",
        each=tables.quality_tables,
        needs="a measured method",
        nav="Beyond FID",
        folded=True,
    ),
    Section(
        "stopping",
        "What would stopping save?",
        "Successive halving, simulated afterwards in the cells where no trial was stopped: how many of the steps it would have "
        "saved, and whether the winner would have been the same. A method (a strategy from a source, all its seeds) stops at a "
        "rung if it is not in the share of its cell that is kept.",
        whole=tables.stopping,
        needs="a cell in which no trial was stopped",
        nav="Stopping",
    ),
    Section(
        "embeddings",
        "Do the embeddings agree?",
        "Each embedding answers for itself; this is where they agree on which start is first.",
        whole=tables.embeddings,
        needs="measurements in a second embedding (transfergan measure)",
        nav="Embeddings",
        folded=True,
    ),
    Section("tuning", "How were the strategies tuned?", whole=tuning.tables, nav="Tuning", folded=True),
    Section(
        "coverage",
        "What was run?",
        "Planned trials by status. A stopped trial was ended early by the stopping rule; it has results up to the step that it "
        "reached.",
        whole=provenance.coverage,
        nav="Coverage",
        folded=True,
    ),
    Section("trials", "Every trial", whole=trials.table, nav="Trials", folded=True),
    Section("trial", "One trial, or two side by side", whole=trials.view, nav="One trial", folded=True),
    Section("data", "The numbers as files", whole=csv_files.links, nav="Files", folded=True),
    Section("provenance", "Where do the numbers come from?", whole=provenance.provenance, nav="Provenance", folded=True),
)

#: Where the sections that have too little data are listed.
_ABSENT = Section("absent", "What is missing?", nav="Missing", folded=True)


def walk(report: Report, page: bool) -> Iterator[tuple[Section, Sequence[Block]]]:
    """Yield the sections with their blocks; with several embeddings, each has a heading.

    Only the page shows figures, and it explains each section beneath them. Last are the names of sections without blocks.
    """
    absent = []
    for section in SECTIONS:
        blocks: list[Block] = [*section.whole(report)]
        for analysis in report.analyses:
            of_embedding = [*(section.figures(report, analysis) if page else ()), *section.each(report, analysis)]
            if of_embedding and len(report.analyses) > 1:
                blocks.append(Heading(f"In the embedding {analysis.embedding}", 3))
            blocks += of_embedding
        words = [Paragraph(text) for text in (section.text, section.legend if page else "") if text]
        if blocks and page:
            yield section, [*blocks, *([Fold("How to read this", words)] if words else [])]
        elif blocks:
            yield section, [*words, *blocks]
        elif section.needs and (page or section.figures is _none):  # the page's figures are not missed elsewhere
            absent.append(f"{section.nav or section.title} (needs {section.needs})")
    if absent and report.analyses:
        yield _ABSENT, [Paragraph(f"Too little data for: {'; '.join(absent)}.")]


def meta(report: Report) -> tuple[str, str]:
    """Return the sweeps that the report is about, and how many trials they have by status."""
    planned = len(report.frames.trials)
    counts = report.frames.trials["status"].value_counts()
    by_status = ", ".join(f"{counts[status]:,} {status}" for status in STATUSES if status in counts)
    return ", ".join(report.frames.names), counted(planned, "trial") + (f" ({by_status})" if by_status else "")
