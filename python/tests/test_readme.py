"""The README's Python runs as it stands there."""

import re
from pathlib import Path

import pytest
from conftest import ROOT

SNIPPETS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def test_there_is_a_snippet_of_ten_lines() -> None:
    assert len(SNIPPETS[0].strip().splitlines()) == 10


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_snippets_run(snippet: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(snippet, str(Path("README.md")), "exec"), {})
    assert "(2, 32, 72)" in capsys.readouterr().out
