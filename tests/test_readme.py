"""The examples that readers copy, in README.md, CONTRIBUTING.md and the guides under docs/, run as they are printed."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```python[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)


def python_blocks(text: str) -> list[tuple[int, str]]:
    """The ```python blocks of a Markdown text, each with the number of lines before its code."""
    return [(text.count("\n", 0, match.start(1)), match.group(1)) for match in FENCE.finditer(text)]


def run(path: Path) -> None:
    """Run the blocks of a file in one namespace; tracebacks point at the lines of the file itself."""
    namespace = {"__name__": "__main__"}
    for lines_before, code in python_blocks(path.read_text(encoding="utf-8")):
        exec(compile("\n" * lines_before + code, path, "exec"), namespace)


def pages() -> list[Path]:
    guides = [path for path in ROOT.glob("docs/**/*.md") if "_build" not in path.parts]
    return [path for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(guides)) if path.exists()]


@pytest.mark.parametrize("path", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(path)


def test_readme_has_examples() -> None:
    assert python_blocks((ROOT / "README.md").read_text(encoding="utf-8"))


def test_blocks_share_a_namespace_and_keep_their_line_numbers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\nx = 1\n```\n\n```bash\nnot python\n```\n\n```python\ny = x\n1 / 0\n```\n")
    with pytest.raises(ZeroDivisionError) as error:
        run(page)
    assert error.traceback[-1].lineno + 1 == 13
