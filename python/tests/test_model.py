import pickle

import pytest
from conftest import MODELS

import waferloom as wl

OPEN = MODELS / "dnabert/model.onnx"


def test_a_model_says_what_it_takes_and_gives(bert: wl.Model) -> None:
    assert bert.name == "dnabert"
    assert bert.inputs == {
        "input_ids": wl.TensorSpec((2, 32), "int64"),
        "attention_mask": wl.TensorSpec((2, 32), "int64"),
    }
    assert bert.outputs == {"logits": wl.TensorSpec((2, 32, 72), "float32")}
    assert "softmax" in bert.text.lower()
    assert repr(bert).endswith("dnabert/model.onnx>")


def test_nodes_are_those_of_the_text(bert: wl.Model) -> None:
    nodes = bert.nodes
    lines = [line for line in bert.text.splitlines() if line.startswith("%")]
    assert len(nodes) == len(lines)
    for number, (node, line) in enumerate(zip(nodes, lines)):
        assert line.startswith(f"%{number} = {node.kind}") and f'"{node.name}"' in line
        assert str(list(node.shape)) in line and all(f"%{operand}" in line for operand in node.operands)
        assert all(operand < number for operand in node.operands)
    assert nodes[0] == wl.Node("input", "input_ids", (2, 32), "int64", ())
    with pytest.raises(wl.OpenDimensionsError):
        wl.load(OPEN).nodes


def test_open_dimensions_wait_for_compile() -> None:
    model = wl.load(OPEN)
    with pytest.raises(wl.OpenDimensionsError, match="these dimensions have no size: b") as error:
        model.inputs
    assert error.value.help is not None and "shapes=" in error.value.help
    with pytest.raises(wl.ModelError):
        model.compile()
    program = model.compile(dims={"b": 1, "s": 16}, grid=(8, 8))
    assert program.inputs["input_ids"] == wl.TensorSpec((1, 16), "int64", "i32")
    bound = wl.load(OPEN, dims={"b": 1, "s": 16})
    assert pickle.loads(pickle.dumps(bound)).inputs == bound.inputs
    assert model.compile(shapes={"input_ids": (1, 16), "attention_mask": (1, 16)}, grid=(8, 8)).text == program.text


def test_options_reach_the_compiler(bert: wl.Model) -> None:
    program = bert.compile(machine="bench16", grid=(16, 8), dtype="f16", items=3, optimize="latency")
    assert (program.grid, program.items, program.machine.name) == ((16, 8), 3, "bench16")
    assert program.report["dtype"] == "f16"
    two = bert.compile(grid=(16, 16), stages=2)
    assert two.choices is not None and two.choices.count("last:") == 2
    assert two.explanation is not None and "stage" in two.explanation
    again = bert.compile(grid=(16, 16), plan=two.choices)
    assert again.text == two.text
    larger = bert.compile(machine=wl.Machine.bench16().with_(sram_bytes=1 << 16), grid=(16, 16))
    assert larger.report["sram"]["capacity_bytes"] == 1 << 16


def test_the_whole_grid_is_taken_when_asked_for(bert: wl.Model) -> None:
    best = bert.compile(grid=(40, 40))
    assert best.grid != (40, 40)
    assert bert.compile(grid=(40, 40), whole_grid=True).grid == (40, 40)
    # What waits for shapes passes it on.
    shapes = {"input_ids": (1, 16), "attention_mask": (1, 16)}
    assert wl.load(OPEN).compile(shapes=shapes, grid=(40, 40), whole_grid=True).grid == (40, 40)


def test_a_plan_may_be_a_file(bert: wl.Model, tmp_path) -> None:
    two = bert.compile(grid=(16, 16), stages=2)
    assert two.choices is not None
    (tmp_path / "plan.ron").write_text(two.choices)
    assert bert.compile(grid=(16, 16), plan=tmp_path / "plan.ron").text == two.text
    with pytest.raises(wl.InputError, match="none.ron: the file cannot be read"):
        bert.compile(plan=tmp_path / "none.ron")
    with pytest.raises(wl.InputError, match="the plan: line 1"):
        bert.compile(plan="(stages: 3)")


def test_what_cannot_be_compiled_is_refused(bert: wl.Model) -> None:
    with pytest.raises(wl.InputError, match="no precision `f64`"):
        bert.compile(dtype="f64")
    with pytest.raises(wl.InputError, match="the grid 17x4 is larger than the machine bench16"):
        bert.compile(machine="bench16", grid=(17, 4))
    with pytest.raises(wl.InputError, match="cannot optimize `speed`"):
        bert.compile(optimize="speed")
    with pytest.raises(wl.InputError, match="items cannot be 0"):
        bert.compile(items=0)
    with pytest.raises(wl.InputError, match="columns cannot be 0"):
        bert.compile(grid=(0, 4))
    with pytest.raises(wl.InputError, match="stages and a plan"):
        bert.compile(stages=2, plan="(stages: [(last: \"logits\", columns: 16)])")
    with pytest.raises(wl.CompileError, match="(?s)SRAM|memory|bytes"):
        bert.compile(grid=(1, 1))


def test_what_is_no_model_is_refused(tmp_path) -> None:
    with pytest.raises(wl.InputError, match="none.onnx: the file cannot be read"):
        wl.load(tmp_path / "none.onnx")
    with pytest.raises(wl.InputError, match="this is a directory"):
        wl.load(tmp_path)
    with pytest.raises(wl.InputError, match="no model `dnabert`: no such file, and no architecture is built in") as error:
        wl.load("dnabert")
    assert error.value.help == "give the path of an ONNX file"
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(wl.InputError, match="folders of Hugging Face models cannot be read yet") as error:
        wl.load(tmp_path)
    assert error.value.help is not None and "optimum-cli export onnx" in error.value.help
    (tmp_path / "noise.onnx").write_text("this is no model")
    with pytest.raises(wl.ModelError, match="not an ONNX model"):
        wl.load(tmp_path / "noise.onnx")
    with pytest.raises(wl.ModelError, match="nobody"):
        wl.load(OPEN, shapes={"nobody": (1, 16)}, dims={"b": 1, "s": 16})
