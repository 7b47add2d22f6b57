"""The site, without building it: tables complete, pages reachable, links alive, printed results true."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import probae as pb
from docs import docstrings, figures, grammar, reference, tables, uses
from probae.cli import main
from tests.contracts import models, test_devices, test_laws

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.glob("**/*.md"))
WITH_LINKS = [*PAGES, *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]

FENCE = re.compile(r"^(`{3,})(.*?)$\n(.*?)^\1[ \t]*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def fences(path: Path) -> list[tuple[str, str, int]]:
    """The fenced blocks of a page: language or directive, content, and the lines before it."""
    text = path.read_text(encoding="utf-8")
    return [(m[2].strip(), m[3], text.count("\n", 0, m.start(3))) for m in FENCE.finditer(text)]


def prose(path: Path) -> str:
    """A page without its fenced blocks and without code between backticks."""
    return re.sub(r"`[^`\n]+`", "", FENCE.sub("", path.read_text(encoding="utf-8")))


# Tables.


def cells(markdown: str) -> list[list[str]]:
    """The rows of a Markdown table, its header and the line below left out."""
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in markdown.splitlines()[2:]]


@pytest.mark.parametrize("name", tables.TABLES)
def test_no_cell_is_empty(name: str) -> None:
    rows = cells(tables.TABLES[name]())
    assert rows
    assert all(all(row) and len(row) == len(rows[0]) for row in rows), rows


@pytest.mark.parametrize("name", ["models", "places"])
def test_each_exported_model_has_one_row(name: str) -> None:
    found = [re.findall(r"pb\.(\w+)", row[0])[0] for row in cells(tables.TABLES[name]())]
    assert sorted(found) == sorted(reference.models())


def test_a_use_says_yes_to_finite_numbers_and_swallows_no_bare_error() -> None:
    for result in (torch.tensor(torch.nan), (torch.zeros(2), torch.tensor([torch.inf])), np.array([np.nan])):
        assert not uses._works(lambda result: result, result)
    for result in (torch.zeros(2), (torch.zeros(2), None), torch.distributions.Normal(0.0, 1.0), np.zeros(2)):
        assert uses._works(lambda result: result, result)
    assert not uses._works(lambda: pb.Autoencoder(4, 2).sample())
    for wrong in (lambda: pb.Autoencoder(4).denoise(), lambda: pb.VAE(4).embed(masks=1)):  # type: ignore[attr-defined, call-arg]
        with pytest.raises((AttributeError, TypeError)):
            uses._works(wrong)


def test_what_a_model_cannot_be_used_for_has_no_yes() -> None:
    found = uses.uses()
    assert found["SparseAutoencoder"]["samples"] is None
    assert found["Autoencoder"]["denoising"] is None
    assert found["RBM"]["missing values"] is None
    assert found["DenoisingAutoencoder"]["in-painting, colorization"] == {}
    assert found["AdversarialAutoencoder"]["log p(x)"] == {"guide": "diagonal"}


def test_a_model_is_offered_only_what_its_constructor_takes() -> None:
    assert "delta" in tables.named("GUIDES")
    assert "delta" not in tables.accepted(pb.VAE, "guide")
    assert {"normal", "bernoulli", "categorical"} <= set(tables.accepted(pb.VAE, "likelihood"))


def test_readme_has_one_row_for_each_exported_model_and_none_for_what_is_not_there() -> None:
    found = reference.readme_rows()
    assert all(hasattr(pb, name) for name in found), found
    assert sorted(name for name in found if name in reference.models()) == sorted(reference.models())


def test_the_grammar_has_each_exported_model() -> None:
    assert reference.models().keys() <= {call.partition("(")[0] for *_, call in grammar.ROWS}


def test_the_grammar_marks_what_is_not_there() -> None:
    assert grammar.exists("VAE(prior=, guide=)")
    assert not grammar.exists("VAE(no_such_argument=)")
    assert not grammar.exists("NoSuchModel()")


def test_each_exported_name_is_in_the_reference_once() -> None:
    entries = re.findall(r"^\.\. auto(?:class|function):: (\S+)$", "\n".join(reference.pages().values()), re.MULTILINE)
    assert sorted(entries) == sorted(reference.public())
    exported = {f"probae.{name}" for name in pb.__all__ if not inspect.ismodule(getattr(pb, name))}
    assert exported <= set(entries)


# Pages and links.


def test_every_page_is_reachable() -> None:
    reached, waiting = set(), [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        reached.add(page)
        trees = [content for kind, content, _ in fences(page) if kind == "{toctree}"]
        entries = [line for tree in trees for line in tree.splitlines() if line and not line.startswith(":")]
        for entry in entries:
            target = re.sub(r".*<(.*)>$", r"\1", entry)
            found = [path for path in page.parent.glob(f"{target}.md") if path not in reached]
            assert found or target == "api/index" or (page.parent / f"{target}.md") in reached, entry
            waiting += found
    assert reached == set(PAGES)


def anchors(path: Path) -> set[str]:
    """What headings can be linked by, as GitHub and MyST name them."""
    titles = re.findall(r"^#{1,6} (.*)$", FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", WITH_LINKS, ids=name_of)
def test_links_inside_the_repository_point_somewhere(path: Path) -> None:
    for link in LINK.findall(prose(path)):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        is_generated = (file.startswith("figures/") and hasattr(figures, target.stem)) or (
            file.startswith("api/") and target.name in reference.pages()
        )
        assert target.exists() or is_generated, f"{name_of(path)}: {link}"
        if anchor:
            assert anchor in anchors(target) or anchor in reference.links().values(), f"{name_of(path)}: {link}"


# Examples.

NUMBER = r"-?\d+(?:\.\d+)?(?:e-?\d+)?"


def printing(path: Path) -> list[tuple[str, int, str | None]]:
    """The ```python blocks of a page: code, the lines before it, and the ```text block that follows at once."""
    found, lines = fences(path), path.read_text(encoding="utf-8").splitlines()
    blocks: list[tuple[str, int, str | None]] = []
    for (kind, code, before), following in zip(found, [*found[1:], ("", "", 0)], strict=False):
        result, content, start = following
        between = lines[before + code.count("\n") + 1 : start - 1]
        if kind == "python":
            blocks.append((code, before, content if result == "text" and not any(between) else None))
    return blocks


def agree(said: str, printed: str) -> bool:
    """Whether the words are the same and numbers differ by at most a quarter; `...` stands for anything."""
    said, printed = " ".join(said.split()), " ".join(printed.split())
    parts = re.split(rf"(\.\.\.|{NUMBER})", said)
    wanted = [".*?" if part == "..." else f"({NUMBER})" if i % 2 else re.escape(part) for i, part in enumerate(parts)]
    match = re.fullmatch("".join(wanted), printed)
    numbers = [float(part) for part in parts[1::2] if part != "..."]
    return match is not None and all(
        abs(one - float(other)) <= 0.25 * abs(one) + 0.01 for one, other in zip(numbers, match.groups(), strict=True)
    )


@pytest.mark.parametrize("path", [p for p in PAGES if any(said for *_, said in printing(p))], ids=name_of)
def test_examples_print_what_the_page_says(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    for code, before, said in printing(path):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * before + code, path, "exec"), namespace)
        if said is not None:
            assert agree(said, printed.getvalue()), f"{name_of(path)}, line {before}: prints\n{printed.getvalue()}"


def consoles(path: Path) -> list[tuple[str, str]]:
    """The commands of a page's ```console blocks, and what they are said to print."""
    text = "".join(content for kind, content, _ in fences(path) if kind == "console")
    return re.findall(r"^\$ probae (.*)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)


@pytest.mark.parametrize("path", [path for path in PAGES if consoles(path)], ids=name_of)
def test_commands_print_what_the_page_says(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command, said in consoles(path):
        main(shlex.split(command))
        printed = "".join(capsys.readouterr())
        assert agree(said, printed), f"{name_of(path)}, {command}: prints\n{printed}"


@pytest.mark.parametrize(
    ("said", "printed", "right"),
    [
        ("log Z 2.914 ± 0.0011\n| ESS 100", "log Z 2.915 ± 0.0012 | ESS 100\n", True),
        ("log Z 2.914", "log Z 12.914", False),
        ("at step ... of site z", "at step 3 of site z", True),
        ("reliable", "NOT RELIABLE", False),
    ],
)
def test_agree(said: str, printed: str, right: bool) -> None:
    assert agree(said, printed) is right


# Docstrings.


def test_plain_text_is_escaped_and_code_is_kept() -> None:
    lines = docstrings.restructured(["Of shape (N, *data_shape), `x_` and |z|_1 for w_ (arXiv 1312.6114)."])
    assert lines[0] == (
        r"Of shape (N, \*data_shape), ``x_`` and \|z\|_1 for w\_ "
        "(`arXiv 1312.6114 <https://arxiv.org/abs/1312.6114>`__)."
    )


def test_an_indented_formula_is_a_literal_block() -> None:
    lines = docstrings.restructured(["A machine,", "", "    p(v) = exp(-F(v)) / Z.", "", "Its guide is empty."])
    assert lines[:6] == ["A machine,", "", ".. code-block:: text", "", "    p(v) = exp(-F(v)) / Z.", ""]
    assert lines[6] == "Its guide is empty."


def test_what_is_indented_under_a_bullet_belongs_to_it() -> None:
    assert docstrings.restructured(["- one", "", "  more of it", "- two"])[:4] == ["- one", "", "  more of it", "- two"]


def test_sections_of_free_text_become_fields() -> None:
    lines = docstrings.restructured(["Source:", "    Neal 2001,", "    section 2.", "", "Example:", "    >>> 1 * 2"])
    assert lines == [":Source: Neal 2001,", "   section 2.", "", ".. rubric:: Example", "", ">>> 1 * 2", ""]


def test_named_things_become_lists() -> None:
    lines = docstrings.restructured(["Args:", "    x, y: (N, *data_shape);", "        finite.", "    z: a code."])
    assert lines == [":Parameters:", r"   - **x, y** -- (N, \*data_shape); finite.", "   - **z** -- a code.", ""]
    assert docstrings.restructured(["Raises:", "    A, B: for x_."]) == [r":raises A, B: for x\_.", ""]


def test_a_section_may_begin_on_its_own_line_and_ends_at_a_blank_one() -> None:
    lines = docstrings.restructured(["Source: Neal 2001,", "section 2.", "", "More."])
    assert lines == [":Source: Neal 2001,", "   section 2.", "", "More.", ""]


def test_the_summary_is_the_first_sentence() -> None:
    def thing() -> None:
        """A machine over bits v,

        p(v) = exp(-F(v)) / Z. More.
        """

    assert docstrings.summary(thing) == "A machine over bits v"


# The worked example of "Add a model" keeps its word.

GIVEN = {"case", "model", "tmp_path"}
LAWS = [
    law for name, law in (*vars(test_laws).items(), *vars(test_devices).items())
    if name.startswith("test_") and {"model"} <= inspect.signature(law).parameters.keys() <= GIVEN
]  # fmt: skip


@pytest.fixture(scope="module")
def worked_example() -> tuple[type, str]:
    """The model class that the page builds, and its line for the contract tests."""
    page, namespace = DOCS / "add-a-model.md", {"__name__": "worked_example"}
    blocks = [code for kind, code, _ in fences(page) if kind == "python"]
    for code in (blocks[0], next(code for code in blocks if "class Mixture(" in code)):
        exec(compile(code, page, "exec"), namespace)
    return namespace["Mixture"], next(code for kind, code, _ in fences(page) if kind == "text" and "Case(" in code)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_worked_example_passes_the_contract(
    law: Callable[..., None], worked_example: tuple[type, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, line = worked_example
    page = ModuleType("worked_example")
    page.Mixture = kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "worked_example", page)  # where pickle looks for the class
    monkeypatch.setattr(pb, "Mixture", kind, raising=False)
    monkeypatch.setattr(pb, "__all__", [*pb.__all__, "Mixture"])
    (case,) = eval("{" + line + "}", vars(models)).values()
    given = {"case": case, "model": case.make(), "tmp_path": tmp_path}
    law(**{name: given[name] for name in inspect.signature(law).parameters})
