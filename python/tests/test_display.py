from collections.abc import Iterator
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import MODELS

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


def test_notebooks_show_tables(bert: wl.Model, bert_program: wl.Program, run: wl.Run) -> None:
    model_html, program_html, run_html = bert._repr_html_(), bert_program._repr_html_(), run._repr_html_()
    kernel_html = wl.kernel("reduce", p=4, elements=8)._repr_html_()
    assert all(is_balanced(html) for html in (model_html, program_html, run_html, kernel_html))
    assert "model dnabert" in model_html and "logits: float32 [2, 32, 72]" in model_html and "2 softmax" in model_html
    assert "input_ids: int64 [2, 32] (i32 on the mesh)" in program_html
    assert f"({run.cycles:,} cycles)" in run_html and "matmul" in run_html and "sequences/s" in run_html
    assert "p=4" in kernel_html


def test_a_model_whose_shapes_are_open_says_so() -> None:
    html = wl.load(MODELS / "dnabert/model.onnx")._repr_html_()
    assert "these dimensions have no size" in html and is_balanced(html)


def test_the_graph_shows_every_operator_but_constants(bert: wl.Model) -> None:
    operators = [node for node in bert.nodes if node.kind != "constant"]
    ax = bert.plot_graph(most_layers=1000)
    assert len(ax.texts) == len(operators)
    assert "input_ids 2×32" in {text.get_text() for text in ax.texts}
    assert ax.get_title() == f"{len(operators)} operators"
    # A curve for each operand of each operator.
    ways = sum(len({o for o in node.operands if bert.nodes[o].kind != "constant"}) for node in operators)
    assert len(ax.patches) == ways
    part = bert.plot_graph(most_layers=10)
    assert len(part.texts) < len(operators) and "the first 10 of" in part.get_title()
    other = pyplot.subplots()[1]
    assert bert.plot_graph(ax=other) is other
    with pytest.raises(wl.OpenDimensionsError):
        wl.load(MODELS / "dnabert/model.onnx").plot_graph()


def test_names_are_escaped() -> None:
    program = wl.Program.from_text('program "<b>" machine bench16 grid 1x1')
    assert "<b>" not in program._repr_html_() and "&lt;b&gt;" in program._repr_html_()


def test_placement_shows_the_class_of_each_pe(bert_program: wl.Program) -> None:
    ax = bert_program.plot_placement()
    assert ax.images[0].get_array().shape == (16, 16, 3)
    legend = ax.get_legend()
    assert legend is not None and [text.get_text() for text in legend.get_texts()] == ["worker: 256 PEs"]
    other = pyplot.subplots()[1]
    assert bert_program.plot_placement(other) is other
    empty = wl.Program.from_text("program p machine bench16 grid 2x3").plot_placement()
    assert (empty.images[0].get_array() == 1.0).all() and empty.get_legend() is None


def test_utilisation_is_a_heat_map_of_a_counter(run: wl.Run) -> None:
    ax = run.plot_utilisation()
    np.testing.assert_allclose(ax.images[0].get_array(), run.counters["busy"] / run.cycles)
    ax = run.plot_utilisation("fabric_in")
    np.testing.assert_allclose(ax.images[0].get_array(), run.counters["fabric_in"] / run.cycles)
    assert ax.get_title().startswith(f"fabric in: {(run.counters['fabric_in'] / run.cycles).mean():.1%}")
    with pytest.raises(wl.InputError, match="no counter `speed`"):
        run.plot_utilisation("speed")


def test_timeline_has_a_bar_for_each_operator(run: wl.Run) -> None:
    ax = run.plot_timeline()
    assert len(ax.patches) == len(run.timeline)
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    assert bars == [(start, end) for _, _, start, end in run.timeline]
