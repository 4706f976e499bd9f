import copy
import pickle

import pytest

import waferloom as wl


def test_built_in_machines_have_their_fields() -> None:
    assert wl.Machine.wse2().sram_bytes == 48 * 1024
    assert wl.Machine.bench16().fabric == {"width": 16, "height": 16}
    assert wl.Machine.wse3().name == "wse3"
    assert "sram_bytes" in dir(wl.Machine.wse2())
    assert repr(wl.Machine.bench16()) == "<Machine bench16: 16x16 PEs of 49152 bytes>"


def test_with_changes_a_copy() -> None:
    machine = wl.Machine.wse2()
    smaller = machine.with_(sram_bytes=1 << 14)
    assert (machine.sram_bytes, smaller.sram_bytes) == (48 * 1024, 1 << 14)
    assert machine != smaller
    assert smaller == smaller.with_() == pickle.loads(pickle.dumps(smaller)) == copy.deepcopy(smaller)
    assert hash(smaller) == hash(smaller.with_())
    machine.fields["sram_bytes"] = 1
    machine.fabric["width"] = 1
    assert machine == wl.Machine.wse2()


def test_a_machine_file_is_read(tmp_path) -> None:
    with pytest.raises(wl.InputError, match="none.ron: the file cannot be read"):
        wl.Machine.load(tmp_path / "none.ron")
    (tmp_path / "broken.ron").write_text("Machine(\n name: 3)")
    with pytest.raises(wl.InputError, match="broken.ron: line 2"):
        wl.Machine.load(tmp_path / "broken.ron")


def test_what_no_machine_has_is_refused() -> None:
    machine = wl.Machine.wse2()
    with pytest.raises(wl.InputError, match="there is no machine `wse9`") as error:
        wl.Machine.load("wse9")
    assert error.value.help is not None and "wse2, wse3, bench16" in error.value.help
    with pytest.raises(wl.InputError, match="no field `sram`"):
        machine.with_(sram=1)
    with pytest.raises(wl.InputError, match="`hop_cycles` is 0; it must be at least 1"):
        machine.with_(hop_cycles=0)
    with pytest.raises(wl.InputError, match="the machine: "):
        machine.with_(sram_bytes="much")
    with pytest.raises(wl.InputError, match="the machine: missing field `fabric`"):
        wl.Machine({"name": "mine"})
    with pytest.raises(AttributeError, match="no field `clock`"):
        machine.clock
