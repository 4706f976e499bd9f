import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import ENDLESS

import waferloom as wl


@pytest.mark.parametrize("engine", ["wavelet", "stream"])
def test_ctrl_c_stops_a_simulation(endless: wl.Program, engine: str) -> None:
    """The program itself would run for minutes, and end without an error."""
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        endless.run(engine=engine)
    timer.join()


def test_ctrl_c_ends_a_script_like_any_other() -> None:
    script = f"import waferloom as wl\nprint('go', flush=True)\nwl.Program.from_text('''{ENDLESS}''').run()"
    child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "go\n"
    time.sleep(0.3)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate()
    assert child.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in said


def test_ctrl_c_ends_a_compilation(bert: wl.Model) -> None:
    """Long before it would have come to its end."""
    start = time.monotonic()
    bert.compile(grid=(64, 64))
    whole = time.monotonic() - start
    timer = threading.Timer(whole / 10, os.kill, (os.getpid(), signal.SIGINT))
    start = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        bert.compile(grid=(64, 64))
    stopped = time.monotonic() - start
    timer.join()
    assert stopped < whole / 2


def test_other_threads_run_meanwhile(endless: wl.Program) -> None:
    """Without the interpreter's lock: a thread counts while the simulation goes on."""
    turns = 0
    done = threading.Event()

    def count() -> None:
        nonlocal turns
        while not done.is_set():
            turns += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    with pytest.raises(wl.SimulationError):
        endless.run(max_cycles=3_000_000)
    done.set()
    thread.join()
    assert turns > 5


def test_progress_is_told(endless: wl.Program) -> None:
    seen: list[int] = []

    def tell(cycle: int) -> None:
        seen.append(cycle)
        if len(seen) == 4:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        endless.run(progress=tell)
    assert len(seen) == 4 and seen == sorted(seen) and seen[-1] > 0


def test_a_bar_is_shown_when_asked_for(endless: wl.Program, capfd) -> None:
    with pytest.raises(wl.SimulationError):
        endless.run(max_cycles=10_000_000, progress=True)
    assert "simulating endless" in capfd.readouterr().err
    with pytest.raises(wl.SimulationError):
        endless.run(max_cycles=1000)
    assert capfd.readouterr().err == ""
