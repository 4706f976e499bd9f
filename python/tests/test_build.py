import numpy as np
import pytest
from conftest import ROOT

import waferloom as wl
from waferloom import build
from waferloom.build import Builder, PeClass, Reg, scalar


def chain(pes: int, elements: int) -> Builder:
    """The sum of one vector a PE by a chain to the west: examples/programs/reduce_chain.wlt in Python."""
    b = Builder("reduce_chain", machine="bench16", grid=(pes, 1))
    hears = b.param("hears", columns=[1 - x % 2 for x in range(pes)])
    sends = b.param("sends", columns=[x % 2 for x in range(pes)])
    for first in (0, 1):
        columns = len(range(first, pes, 2))
        b.route(first, "RAMP -> WEST", at=(first, 0), size=(pes - first, 1), step=(2, 1))
        hearing = len(range(first, pes - 1, 2))
        assert columns >= hearing > 0
        b.route(1 - first, "EAST -> RAMP", at=(first, 0), size=(2 * hearing - 1, 1), step=(2, 1))
    east, link = b.pe_class("east"), b.pe_class("link")
    for pe in (east, link):
        mine = pe.buffer("mine", elements, "f32", "weight")
        out = pe.output(sends, queue=2)
        with pe.task("main", activated=True) as task:
            if pe is east:
                task.mov(out.send(elements), mine[:])
            else:
                task.add(out.send(elements), pe.input(hears).take(elements), mine[:])
    b.place(link, size=(pes - 1, 1))
    b.place(east, at=(pes - 1, 0))
    values = np.array([[10.0 * x + i for i in range(elements)] for x in range(pes)])
    b.constant("mine", values, mine, x=0)
    b.output("y", (elements,), "f32", edge="WEST", at=(0, 0), color=0)
    return b


def test_the_example_in_python_is_the_example() -> None:
    program = chain(5, 8).build()
    by_hand = wl.Program.load(ROOT / "examples/programs/reduce_chain.wlt")
    run, expected = program.run(), by_hand.run()
    assert run.cycles == expected.cycles
    assert (run.outputs["y"] == expected.outputs["y"]).all()
    assert run.counters["busy"].tolist() == expected.counters["busy"].tolist()
    assert wl.Program.from_text(program.text).text == program.text


def one_pe(grid: tuple[int, int] = (1, 1)) -> tuple[Builder, PeClass]:
    b = Builder("one", machine="bench16", grid=grid)
    pe = b.pe_class("pe")
    b.place(pe, size=grid)
    return b, pe


def test_vectors_and_scalars() -> None:
    b, pe = one_pe()
    a, c = pe.buffer("a", 8, kind="weight"), pe.buffer("c", 8, kind="activation")
    h = pe.buffer("h", 4, "f16")
    t = pe.task("main", activated=True)
    t.mul(c[:], a[:], scalar(2.0))
    t.sub(c[0:4], c[0:4], a[::2])
    t.mac(c[4:], c[4:], a[:4], scalar(1.0))
    t.max(c[6:], c[6:], scalar(20.0))
    t.mov(h[:], c[:4])
    t.vector("abs", c[:4], h[:])
    t.mov(None, a[:])
    # The last row of a 2x4 matrix, by a descriptor of two dimensions.
    t.mov(c.dsd((1, 4), (2, 1), offset=4), a.dsd((1, 4), (2, 1), offset=4))
    values = np.arange(8, dtype=np.float32) - 3
    b.constant("a", values, a)
    b.result("c", (8,), c)
    expected = 2 * values
    expected[:4] -= values[::2]
    expected[4:] += values[:4]
    expected[6:] = np.maximum(expected[6:], 20)
    expected[:4] = abs(expected[:4])
    expected[4:6] = values[4:6]
    assert (b.build().run().outputs["c"] == expected).all()


def test_control_flow_and_registers() -> None:
    b, pe = one_pe()
    out = pe.buffer("out", 4, "i32")
    i, total, r = Reg(1), Reg(2), Reg(3)
    last = pe.task("last", blocked=True)
    last.store(total, "i32", out.address)
    t = pe.task("main", activated=True)
    t.clock(r)
    with t.loop(5, i):
        t.scalar("add", total, total, i)
        with t.when(i, "==", 3):
            t.store(i, "i32", out.address, 4)
        with t.otherwise():
            t.store(-7, "i32", out.address, 8)
    t.load(r, "i32", out.address, 4)
    t.scalar("mul", r, r, 0xFFFF_FFFF)
    t.store(r, "i32", out.address, 12)
    t.activate(last)
    t.block(last)
    t.unblock(last)
    b.result("out", (4,), out)
    # 0 + 1 + 2 + 3 + 4; the turn 3; another turn; -1 times 3 in 32 bits.
    assert b.build().run().outputs["out"].tolist() == [10, 3, -7, -3]


def test_microthreads_fifos_params_and_operators() -> None:
    b, pe = one_pe((2, 1))
    mine = b.param("mine", pes=[5, 7])
    fifo, out = pe.fifo(8), pe.buffer("out", 2, "i32")
    work = b.operator("work", "push", flops=10)
    end = pe.task("end")
    end.mov(out[:], fifo.words(2, "i32"))
    t = pe.task("main", activated=True)
    t.mark(work)
    t.vector("mov", fifo.words(2, "i32"), scalar(mine, "i32"), microthread=1, activates=end)
    b.result("out", (4,), out, x=0)
    run = b.build().run()
    assert run.outputs["out"].tolist() == [5, 5, 7, 7]
    assert [o["name"] for o in run.report["operators"]] == ["work"]
    assert run.report["flops"]["total"] == 10


def test_switches_are_moved_by_control_wavelets() -> None:
    """The first PE sends two numbers, then moves its neighbour's switch, so that the next two go on to the third."""
    b = Builder("switch", machine="bench16", grid=(3, 1))
    b.route(0, "RAMP -> EAST", at=(0, 0))
    b.route(0, "WEST -> RAMP", "WEST -> EAST", at=(1, 0))
    b.route(0, "WEST -> RAMP", at=(2, 0))
    source, sink = b.pe_class("source"), b.pe_class("sink")
    data = source.buffer("data", 4, kind="weight")
    queue = source.output(0)
    t = source.task("main", activated=True)
    t.mov(queue.send(2), data[:2])
    t.control(queue, ["nop", "advance", "nop"])
    t.mov(queue.send(2), data[2:])
    got = sink.buffer("got", 2)
    sink.task("main", activated=True).mov(got[:], sink.input(0).take(2))
    b.place(source)
    b.place(sink, at=(1, 0), size=(2, 1))
    b.constant("data", [1.0, 2.0, 3.0, 4.0], data, size=(1, 1))
    b.result("got", (4,), got, at=(1, 0), size=(2, 1), x=0)
    assert b.build().run().outputs["got"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_data_tasks_ports_and_filters() -> None:
    """Each wavelet from the host starts a task; a filter lets every second one through."""
    b, pe = one_pe()
    b.route(3, "WEST -> RAMP", filter={"Count": {"first": 1, "pass": 1, "period": 2}})
    out = pe.buffer("out", 1, "i32")
    t = pe.task("sum", "data", queue=pe.input(3))
    t.scalar("add", Reg(2), Reg(2), Reg(0))
    t.store(Reg(2), "i32", out.address)
    b.input("x", (6,), "i32", edge="WEST", at=(0, 0), color=3)
    b.result("out", (1,), out)
    assert b.build().run({"x": np.array([1, 10, 2, 20, 3, 30])}).outputs["out"].tolist() == [60]


def test_mistakes_are_named() -> None:
    b, pe = one_pe()
    t = pe.task("main", activated=True)
    with pytest.raises(wl.InputError, match="no vector operation `frob`"):
        t.vector("frob", None, scalar(1.0))
    with pytest.raises(wl.InputError, match="no type on the mesh `f64`"):
        pe.buffer("b", 4, "f64")
    with pytest.raises(wl.InputError, match="no kind of buffer `cache`"):
        pe.buffer("b", 4, kind="cache")
    with pytest.raises(wl.InputError, match="no port of a router `UP`"):
        b.route(0, "UP -> RAMP")
    with pytest.raises(wl.InputError, match="no position of a switch"):
        b.route(0, "WEST RAMP")
    with pytest.raises(wl.InputError, match="no comparison `>`"), t.when(1, ">", 2):
        pass
    with pytest.raises(wl.InputError, match="no condition before this"), t.otherwise():
        pass
    with pytest.raises(wl.InputError, match="a data task needs a queue"):
        pe.task("d", "data")
    with pytest.raises(wl.InputError, match="no kind of task `idle`"):
        pe.task("d", "idle")
    with pytest.raises(wl.InputError, match="give a microthread"):
        t.vector("mov", None, scalar(1.0), activates=t)
    with pytest.raises(wl.InputError, match="not both"):
        t.vector("mov", None, scalar(1.0), microthread=1, activates=t, unblocks=t)
    with pytest.raises(wl.InputError, match="2 lists of values"):
        b.param("p", columns=[1], rows=[1])
    with pytest.raises(wl.InputError, match="does not fit 32 bits"):
        t.scalar("add", Reg(1), 1 << 32, 0)
    with pytest.raises(wl.InputError, match="cannot be given as bf16"):
        scalar(1.0, "bf16")
    with pytest.raises(wl.InputError, match="a constant cannot be cb16"):
        b.constant("c", [1.0], build.Buffer("c", 0, 1, "cb16"))
    with pytest.raises(wl.InputError, match="no edge `UP`"):
        b.input("x", (1,), "f32", edge="UP", at=(0, 0), color=0)


def test_the_verifier_has_the_last_word() -> None:
    b, pe = one_pe()
    far = build.Buffer("far", 1 << 20, 4, "f32")
    pe.task("main", activated=True).mov(far[:], scalar(1.0))
    with pytest.raises(wl.ProgramError, match="one: the program is not valid"):
        b.build()
    b, pe = one_pe()
    pe.buffer("a", 4, address=0)
    pe.buffer("b", 4, address=8)
    with pytest.raises(wl.ProgramError, match="(?s)not valid.*a.*b"):
        b.build()
    with pytest.raises(wl.ProgramError, match="the program's parts are no program"):
        Builder("large", machine="bench16", grid=(1, 1), items=-1).build()
