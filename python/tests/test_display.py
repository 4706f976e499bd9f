from collections.abc import Iterator
from html.parser import HTMLParser

import numpy as np
import pytest

import waferloom as wl

pyplot = pytest.importorskip("matplotlib.pyplot", reason="the extra `plot` is not installed; CI installs it")


@pytest.fixture(scope="module")
def run(bert_program: wl.Program, bert_inputs: dict[str, np.ndarray]) -> wl.Run:
    return bert_program.run(bert_inputs, engine="stream")


@pytest.fixture(autouse=True)
def no_figures_left() -> Iterator[None]:
    yield
    pyplot.close("all")


def is_balanced(html: str) -> bool:
    """Whether all tags are closed in order."""

    class Tags(HTMLParser):
        open: list[str] = []

        def handle_starttag(self, tag: str, attrs: object) -> None:
            self.open = [*self.open, tag]

        def handle_endtag(self, tag: str) -> None:
            assert self.open[-1] == tag
            self.open = self.open[:-1]

    tags = Tags()
    tags.feed(html)
    return not tags.open


def test_notebooks_show_tables(bert_program: wl.Program, run: wl.Run) -> None:
    program_html, run_html = bert_program._repr_html_(), run._repr_html_()
    kernel_html = wl.kernel("reduce", p=4, elements=8)._repr_html_()
    assert all(is_balanced(html) for html in (program_html, run_html, kernel_html))
    assert "input_ids: int64 [2, 32] (i32 on the mesh)" in program_html
    assert f"({run.cycles:,} cycles)" in run_html and "matmul" in run_html and "sequences/s" in run_html
    assert "p=4" in kernel_html


def test_names_are_escaped() -> None:
    program = wl.Program.from_text('program "<b>" machine bench16 grid 1x1')
    assert "<b>" not in program._repr_html_() and "&lt;b&gt;" in program._repr_html_()


def test_placement_shows_the_class_of_each_pe(bert_program: wl.Program) -> None:
    ax = bert_program.plot_placement()
    assert ax.images[0].get_array().shape == (16, 16, 3)
    legend = ax.get_legend()
    assert legend is not None and [text.get_text() for text in legend.get_texts()] == ["worker"]
    other = pyplot.subplots()[1]
    assert bert_program.plot_placement(other) is other
    empty = wl.Program.from_text("program p machine bench16 grid 2x3").plot_placement()
    assert (empty.images[0].get_array() == 1.0).all() and empty.get_legend() is None


def test_utilisation_is_a_heat_map_of_a_counter(run: wl.Run) -> None:
    ax = run.plot_utilisation()
    np.testing.assert_allclose(ax.images[0].get_array(), run.counters["busy"] / run.cycles)
    ax = run.plot_utilisation("fabric_in")
    np.testing.assert_allclose(ax.images[0].get_array(), run.counters["fabric_in"] / run.cycles)
    with pytest.raises(wl.InputError, match="no counter `speed`"):
        run.plot_utilisation("speed")


def test_timeline_has_a_bar_for_each_operator(run: wl.Run) -> None:
    ax = run.plot_timeline()
    assert len(ax.patches) == len(run.timeline)
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    assert bars == [(start, end) for _, _, start, end in run.timeline]
