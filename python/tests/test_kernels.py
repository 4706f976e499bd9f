import pytest

import waferloom as wl


def test_every_kernel_is_listed_with_its_parameters() -> None:
    kernels = wl.kernels()
    assert list(kernels) == sorted(kernels, key=list(kernels).index) and "gemm" in kernels
    p = next(parameter for parameter in kernels["reduce"].parameters if parameter.name == "p")
    assert p.range is not None and p.range[0] <= int(p.default) <= p.range[1] and p.choices is None
    algorithm = next(parameter for parameter in kernels["reduce"].parameters if parameter.name == "algorithm")
    assert algorithm.choices is not None and "chain" in algorithm.choices and algorithm.range is None
    assert all(kernel.summary and kernel.name == name for name, kernel in kernels.items())


def test_a_kernel_says_its_cycles_estimate_and_error() -> None:
    # A chain costs the start (8), 6 cycles a PE and one an element: 8 + 100 + 6 * 15.
    run = wl.kernel("reduce", p=16, elements=100, algorithm="chain")
    assert (run.cycles, run.estimate_cycles, run.algorithm, run.kernel) == (198, 198, "chain", "reduce")
    assert run.settings["p"] == "16"
    assert run.max_abs_error is not None and run.max_abs_error < 1e-5
    assert run.max_rel_error is not None and run.max_rel_error < 1e-5
    assert 0 < run.utilisation == run.report["utilisation"]["busy"] < 1
    assert run.report["flops"]["total"] == 1500


def test_an_estimate_needs_no_simulation() -> None:
    # A chain costs the start (8), 6 cycles a PE and one an element.
    assert wl.estimate("reduce", p=16, elements=100, algorithm="chain") == wl.Estimate("chain", 8 + 100 + 6 * 15)
    # One that no simulation would come to the end of.
    large = wl.estimate("gemm", p=720, m=14400, k=14400, n=14400, dtype="f16")
    assert large.algorithm == "summa" and large.cycles > 14400**3 / 720**2 / 2
    with pytest.raises(wl.KernelError, match="there is no kernel `frob`"):
        wl.estimate("frob")
    with pytest.raises(wl.KernelError, match="`p` cannot be 0: give an integer from"):
        wl.estimate("reduce", p=0)


def test_options_reach_the_simulator() -> None:
    run = wl.kernel("reduce", p=16, elements=100, algorithm="chain", engine="stream", timing_only=True, threads=1)
    assert run.report["engine"] == "stream" and run.max_abs_error is None
    slow = wl.Machine.wse2().with_(hop_cycles=3)
    # Two more cycles at each of the 15 hops.
    assert wl.kernel("reduce", machine=slow, p=16, elements=100, algorithm="chain").cycles == 198 + 2 * 15
    with pytest.raises(wl.SimulationError, match="not done after 100 cycles"):
        wl.kernel("reduce", p=16, elements=100, max_cycles=100)
    seen: list[int] = []
    wl.kernel("gemm", p=16, m=64, k=64, n=64, progress=seen.append)
    assert seen == sorted(seen)


def test_what_no_kernel_does_is_refused() -> None:
    with pytest.raises(wl.KernelError, match="there is no kernel `frob`") as error:
        wl.kernel("frob")
    assert error.value.help is not None and "gemm" in error.value.help
    with pytest.raises(wl.KernelError, match="the kernel `reduce` has no parameter `q`; it has p,"):
        wl.kernel("reduce", q=3)
    with pytest.raises(wl.KernelError, match="`p` cannot be 0: give an integer from"):
        wl.kernel("reduce", p=0)
    with pytest.raises(wl.KernelError, match="`algorithm` cannot be luck: give one of"):
        wl.kernel("reduce", algorithm="luck")
    with pytest.raises(wl.KernelError, match="needs .* has .*: change `elements`"):
        wl.kernel("reduce", p=4, elements=100_000)
    with pytest.raises(wl.InputError, match="no engine `flow`"):
        wl.kernel("reduce", engine="flow")
