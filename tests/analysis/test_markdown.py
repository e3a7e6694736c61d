"""The report in Markdown, read by an independent parser of GitHub's dialect."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from analysis.frames import load
from analysis.report.markdown import escape, render, table
from analysis.statistics import analyse
from analysis.words import number, times
from bench.store import open_store
from tests.support.synthetic import build

NAMES = [
    "<script>alert(1)</script>", "a|b", "`a` \\` |", "**a** _b_ ~~c~~", "[a](http://b.c)", "![a](b)", "<!-- a", "&lt;&amp;",
    "- a", "+ a", "12) a", "1. a", "# a #", "> a", "---", "-", "[a]: b", "<http://a.b>", "a\\", "$a$ ==b==", "שלום",
]  # fmt: skip
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def words(tokens: list[Token]) -> Iterator[str]:
    """Yield the text of each heading, paragraph, bullet and cell; assert that it has no markup but strong emphasis."""
    for token in tokens:
        if token.type == "inline":
            assert {child.type for child in token.children or ()} <= {"text", "text_special", "strong_open", "strong_close"}
            yield "".join(child.content for child in token.children or ())
        else:
            assert token.type not in ("html_block", "fence", "code_block", "blockquote_open", "hr", "ordered_list_open")


@pytest.mark.parametrize("form", ["{}", "- {}", "### {}", "**{}**"])
def test_any_name_is_read_as_text(form: str) -> None:
    for name in NAMES:
        tokens = PARSER.parse(form.format(escape(name)))
        assert list(words(tokens)) == [name]
        assert [token.type for token in tokens].count("bullet_list_open") == (form == "- {}")


def test_a_table_has_the_cells_given() -> None:
    texts = list(words(PARSER.parse(table(NAMES, [NAMES, NAMES[::-1]]))))
    assert texts == [*NAMES, *NAMES, *NAMES[::-1]]


def test_line_breaks_direction_marks_and_mentions_are_neutralised() -> None:
    assert escape("a\r\nb\u2028c\td") == "a b c d"
    assert list(words(PARSER.parse(escape("a\u202eb\x1b[1m")))) == ["a\\u202eb\\u001b[1m"]
    assert escape("@me a@b.c #12 :tada:") == "@\u200bme a@\u200bb.c \\#\u200b12 :\u200btada:"
    assert escape("https://a www.b") == "https\\://a www\\.b"


@pytest.mark.slow
def test_the_report_has_the_numbers_of_the_statistics_and_hostile_names_as_text(tmp_path: Path) -> None:
    sources = {"</script>|<b>": 18.0, "a\u202e`b`\n# c": 60.0, "far": 90.0}
    store = build(tmp_path, sources=sources, seeds=(0, 1), faults=True, images=False)
    frames = load(store)
    replayed = pd.DataFrame({"keep": [0.5], "cells": [4], "saved": [0.43], "same_winner": [3], "source_order": [0.8]})
    text = render(frames, replayed)
    tokens = PARSER.parse(text)
    texts = list(words(tokens))
    assert {token.tag for token in tokens if token.type == "heading_open"} == {"h1", "h2", "h3", "h4"}
    headings = [after.content for before, after in pairwise(tokens) if before.type == "heading_open" and before.tag == "h2"]
    assert headings == [
        "The answer", "What does a pre-trained start save?", "Which source for which target?",
        "How does each start compare with scratch?", "Which strategy, from the same source?", "Is it better by other metrics?",
        "What would stopping save?", "What was run?", "Where do the numbers come from?", "What is missing?",
    ]  # fmt: skip
    assert {"Sources over all targets", "What does a pre-trained start save?"} <= set(texts)
    analysis = analyse(frames, frames.embeddings[0])
    best = analysis.ranked.iloc[0]
    gain = analysis.significance.set_index(["cell", "strategy", "source"]).loc[(best["cell"], best["strategy"], best["source"])]
    start = texts.index("1", texts.index("How does each start compare with scratch?"))
    assert texts[start : start + 5] == ["1", "finetune", "script>|<b>", texts[start + 3], number(best["value"])]
    assert texts[start + 9 : start + 11] == [times(gain["gain"]), f"{times(gain['low'])} to {times(gain['high'])}"]
    assert "a\\u202e`b` # c" in texts
    assert "1 failed: RuntimeError: out of memory while allocating 512 MiB" in texts
    assert texts[texts.index("43%") - 1 : texts.index("43%") + 3] == ["0.5", "43%", "3 of 4", "+0.80"]


@pytest.mark.slow
def test_each_section_names_its_embedding_if_there_are_several(tmp_path: Path) -> None:
    store = build(tmp_path, sizes=(50,), strategies=("scratch", "finetune"), embeddings=("a:1", "b:2"), images=False)
    whole, *sections = render(load(store)).split("\n## ")
    assert whole.startswith("# ")
    shared = {"What was run?", "Where do the numbers come from?", "What is missing?"}
    assert len(sections) > 6
    for section in sections:
        headings = [line for line in section.splitlines() if line.startswith("### In the embedding")]
        if section.startswith("Do the embeddings agree?\n"):
            assert "a:1 and b:2" in section
            continue
        expected = [] if section.partition("\n")[0] in shared else ["### In the embedding a:1", "### In the embedding b:2"]
        assert headings == expected


def test_a_store_without_results_says_so(tmp_path: Path) -> None:
    text = render(load(open_store(str(tmp_path), create=True)))
    assert "This store holds no trial yet. Run a sweep with transfergan run, then write the report again." in text
    assert "\n0 trials.\n" in text
    assert "|" not in text
