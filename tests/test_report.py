"""The tables of results in the pages are those of the files that the benchmarks wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report


def test_no_table_differs_from_its_files() -> None:
    assert report.main(["--check"]) == 0, "run python -m benchmarks.report"


def test_a_stale_table_is_seen_and_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- results: kinds -->\n| old |\n<!-- end of results -->\nafter\n")
    monkeypatch.setattr(report, "PAGES", (page,))
    assert report.main(["--check"]) == 1
    assert "| old |" in page.read_text()
    assert report.main([]) == 0
    assert report.main(["--check"]) == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "VampPrior" in text
    assert "| old |" not in text
