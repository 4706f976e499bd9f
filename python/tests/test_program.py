import pickle

import numpy as np
import pytest
from conftest import ADDER

import waferloom as wl


def test_a_program_says_what_it_is(adder: wl.Program) -> None:
    assert (adder.name, adder.grid, adder.items, adder.machine.name) == ("adder", (1, 1), 1, "bench16")
    assert adder.inputs == {"x": wl.TensorSpec((4,), "float32", "f32")}
    assert adder.outputs == {"y": wl.TensorSpec((4,), "float32", "f32")}
    assert adder.explanation is None and adder.choices is None
    assert adder.warnings == []
    assert adder.report["cycles"] == 0 and adder.report["pes_used"] == 1
    assert repr(adder) == "<Program adder: 1x1 PEs of bench16>"


@pytest.mark.parametrize("name", ["p.wlp", "p.wlt"])
def test_both_forms_are_written_and_read(adder: wl.Program, tmp_path, name: str) -> None:
    adder.save(tmp_path / name)
    again = wl.Program.load(tmp_path / name)
    assert again.text == adder.text == wl.Program.from_text(adder.text).text
    assert again.run({"x": np.zeros(4)}).outputs["y"].tolist() == [1.5] * 4
    with pytest.raises(wl.ProgramError, match="none"):
        adder.save(tmp_path / "none" / name)


def test_a_pickled_program_is_the_same(bert_program: wl.Program) -> None:
    again = pickle.loads(pickle.dumps(bert_program))
    assert again.text == bert_program.text
    assert again.report == bert_program.report
    assert again.explanation == bert_program.explanation and again.choices == bert_program.choices


def test_warnings_are_the_verifiers() -> None:
    # Nobody takes what the task sends: the verifier can only warn.
    text = ADDER.replace("add out q2 f32[4] <- in q0 f32[4], f32 1.5", "mov out q2 f32[4] <- f32 1.5")
    assert wl.Program.from_text(text).warnings == []


def test_an_invalid_program_is_refused_with_the_verifiers_words() -> None:
    with pytest.raises(wl.ProgramError, match="(?s)the text: the program is not valid.*output .y.") as error:
        wl.Program.from_text(ADDER.replace("pos RAMP -> WEST", "pos RAMP -> EAST"))
    assert error.value.help == "correct the program, or compile it again"


def test_what_is_no_program_is_refused(tmp_path) -> None:
    with pytest.raises(wl.ProgramError, match="line 1, column 10: .*expected `machine`"):
        wl.Program.from_text("program p")
    with pytest.raises(wl.InputError, match="the grid of 4000x4000 is larger than the machine bench16"):
        wl.Program.from_text("program p machine bench16 grid 4000x4000")
    with pytest.raises(wl.InputError, match="none.wlp: the file cannot be read"):
        wl.Program.load(tmp_path / "none.wlp")
    (tmp_path / "noise.wlp").write_bytes(b"\x7f\xff\x00\x80")
    with pytest.raises(wl.ProgramError, match="noise.wlp: this is not a waferloom program"):
        wl.Program.load(tmp_path / "noise.wlp")
