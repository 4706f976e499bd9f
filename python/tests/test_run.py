import subprocess
import sys

import numpy as np
import pytest
from conftest import ADDER

import waferloom as wl

X = np.array([0.0, 1.0, -2.0, 0.5], np.float32)


def test_numbers_go_in_and_come_out(adder: wl.Program) -> None:
    run = adder.run({"x": X})
    assert run.outputs["y"].dtype == np.float32
    assert run.outputs["y"].tolist() == [1.5, 2.5, -0.5, 2.0]
    assert run.cycles == run.report["cycles"] > 0
    assert run.seconds == pytest.approx(run.cycles / adder.machine.clock_hz)
    assert repr(run) == f"<Run of adder: {run.cycles} cycles>"


@pytest.mark.parametrize("engine", ["wavelet", "stream"])
def test_engines_give_the_same(adder: wl.Program, engine: str) -> None:
    run = adder.run({"x": X}, engine=engine, threads=1)
    assert run.report["engine"] == engine
    assert (run.outputs["y"] == X + 1.5).all()


def test_timing_only_gives_the_time_alone(adder: wl.Program) -> None:
    run = adder.run({"x": X}, engine="stream", timing_only=True)
    assert run.outputs == {}
    assert run.cycles == adder.run({"x": X}, engine="stream").cycles


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4", "i1", "i4", "i8", "u2", "?"])
def test_other_types_are_converted(adder: wl.Program, dtype: str) -> None:
    values = np.array([0, 1, 1, 0]).astype(dtype)
    if values.dtype.kind == "f":
        assert adder.run({"x": values}).outputs["y"].tolist() == [1.5, 2.5, 2.5, 1.5]
    else:
        with pytest.raises(wl.InputError, match="input `x` is int64, the program takes float32"):
            adder.run({"x": values})


def test_lists_views_and_foreign_tensors_are_taken(adder: wl.Program) -> None:
    class Foreign:
        """A tensor that only DLPack can read."""

        def __dlpack__(self, **options: object) -> object:
            return X.__dlpack__()

        def __dlpack_device__(self) -> tuple[int, int]:
            return X.__dlpack_device__()

    every_second = np.repeat(X, 2)[::2]
    assert not every_second.flags.c_contiguous
    for x in (X, X.tolist(), every_second, Foreign()):
        assert (adder.run({"x": x}).outputs["y"] == X + 1.5).all()


def test_items_are_stacked_or_repeated() -> None:
    program = wl.Program.from_text(
        ADDER.replace("grid 1x1\n", "grid 1x1 items 3\n", 1).replace(
            "add out q2 f32[4] <- in q0 f32[4], f32 1.5", "loop r1 in 3 { add out q2 f32[4] <- in q0 f32[4], f32 1.5 }"
        )
    )
    assert program.items == 3
    stacked = np.arange(12, dtype=np.float32).reshape(3, 4)
    run = program.run({"x": stacked})
    assert (run.outputs["y"] == stacked + 1.5).all()
    assert run.report["throughput"]["items"] == 3
    repeated = program.run({"x": X})
    assert (repeated.outputs["y"] == X + 1.5).all()
    assert repeated.report["throughput"]["items"] == 3
    with pytest.raises(wl.InputError, match=r"input `x` has shape \[3, 5\]"):
        program.run({"x": np.zeros(5)})


def test_wrong_inputs_are_refused(adder: wl.Program) -> None:
    with pytest.raises(wl.InputError, match="input `x` is missing"):
        adder.run()
    with pytest.raises(wl.InputError, match="no input `z`; the program's inputs are: x"):
        adder.run({"x": X, "z": X})
    with pytest.raises(wl.InputError, match=r"`x` has shape \[3\], the program was made for \[4\]"):
        adder.run({"x": X[:3]})
    with pytest.raises(wl.InputError, match="elements of type complex64"):
        adder.run({"x": X * 1j})
    with pytest.raises(wl.InputError, match="elements of type uint64"):
        adder.run({"x": X.astype("u8")})
    with pytest.raises(wl.InputError, match="input `x` is no array"):
        adder.run({"x": [[1.0], 2.0]})
    with pytest.raises(wl.InputError, match="no engine `flow`"):
        adder.run({"x": X}, engine="flow")


def test_a_program_that_fails_says_where(endless: wl.Program) -> None:
    with pytest.raises(wl.SimulationError, match="not done after 1000 cycles") as error:
        endless.run(max_cycles=1000)
    assert "help: raise max_cycles" in str(error.value)
    stuck = ADDER.replace("f32[4] <- in q0 f32[4]", "f32[5] <- in q0 f32[5]")
    with pytest.raises((wl.SimulationError, wl.ProgramError), match="deadlock|wavelets"):
        wl.Program.from_text(stuck).run({"x": X})


def test_leftover_wavelets_are_warned_of() -> None:
    text = ADDER.replace("add out q2 f32[4] <- in q0 f32[4], f32 1.5", "mov out q2 f32[4] <- f32 1.5")
    with pytest.warns(UserWarning, match="4 wavelets were left over"):
        wl.Program.from_text(text).run({"x": X})


def test_counters_add_up_to_the_cycles(bert_program: wl.Program, bert_inputs: dict[str, np.ndarray]) -> None:
    run = bert_program.run(bert_inputs, engine="stream")
    assert {name: c.shape for name, c in run.counters.items()} == dict.fromkeys(
        ["busy", "fabric_in", "fabric_out", "memory", "idle"], (16, 16)
    )
    assert (sum(run.counters.values()) == run.cycles).all()
    report = run.per_pe_report()
    assert len(report["per_pe"]) == 256 and "per_pe" not in run.report
    assert report["per_pe"][16 * 3 + 5]["busy"] == run.counters["busy"][3, 5]
    assert [name for name, *_ in run.timeline] == [o["name"] for o in run.report["operators"]]
    assert all(0 <= start <= end <= run.cycles for _, _, start, end in run.timeline)


def test_a_large_input_is_not_copied(adder: wl.Program, tmp_path) -> None:
    """An array of the right type is read where it lies: here a file with nothing in it, larger than any memory."""
    terabyte = 1 << 40
    with open(tmp_path / "large", "wb") as file:
        file.truncate(terabyte)
    large = np.memmap(tmp_path / "large", np.float32, "r", shape=(4, terabyte // 16))
    with pytest.raises(wl.InputError, match=r"`x` has shape \[4, 68719476736\]"):
        adder.run({"x": large})


LARGE = """
import resource
import numpy as np
from waferloom.build import Builder

n = 25_000_000
b = Builder("swallow", machine="bench16", grid=(2, 1))
b.route(0, "WEST -> RAMP")
pe = b.pe_class("pe")
pe.task("main", activated=True).mov(None, pe.input(0).take(n))
b.place(pe)
b.input("x", (n,), "f32", edge="WEST", at=(0, 0), color=0, size=(2, 1), x=0)
program, x = b.build(), np.ones(n, np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert program.run({"x": x}).cycles > n
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / x.nbytes)
"""
"""Sends 100 MB to one PE, and says by how many times that the process has grown."""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted in other units elsewhere")
def test_a_large_input_is_kept_as_its_wavelets_alone() -> None:
    """A word for each element at the host's edge, and once more for what is under way."""
    said = subprocess.run([sys.executable, "-c", LARGE], capture_output=True, text=True, check=True).stdout
    assert float(said) < 2.5
