"""The house's docstrings, which are plain text, as reStructuredText for Sphinx and as Markdown for tables.

Plain text knows `code` between single backticks, indented formulas, sections ("Args:", "Source:", ...) and doctests.
Whatever else means something to reStructuredText (the stars of `(N, *data_shape)`, the bars of |z|) is escaped.
"""

import inspect
import re
import textwrap

TEXTS = ("Returns", "Returns (when called)", "Shapes", "See also", "Source", "Yields")
"""Sections of free text."""

LISTS = {"Args": "Parameters", "Attributes": "Attributes"}
"""Sections of "name: description", and what they are called on the page."""

_HEADER = re.compile(r"^([A-Z][a-z]+(?: also| \(when called\))?):(?: +(\S.*))?$")
_SECTIONS = {*TEXTS, *LISTS, "Raises", "Example"}
_CODE = re.compile(r"`([^`]+)`")
_ARXIV = re.compile(r"arXiv[ :](\d{4}\.\d{4,5})")


def summary(thing):
    """The first sentence of a docstring, without its full stop."""
    paragraph = (inspect.getdoc(thing) or "").partition("\n\n")[0].replace("\n", " ")
    return re.split(r"(?<=[.;])\s+(?=[A-Z])", paragraph)[0].rstrip(" .,:;")


def section(thing, name):
    """The text of a section such as "Source", in one line; "" where there is none."""
    found, lines = False, []
    for line in (inspect.getdoc(thing) or "").splitlines():
        header = _header(line)
        if header:
            found = header[0] == name
            lines += [header[1]] if found and header[1] else []
        elif found and line.strip():
            lines.append(line.strip())
        elif found and lines:
            break
    return " ".join(lines)


def markdown(text):
    """A line of plain text as Markdown, fit for a cell of a table; papers on the arXiv become links."""
    parts = _CODE.split(text)
    for i, part in enumerate(parts):
        parts[i] = "`" + part.replace("|", r"\|") + "`" if i % 2 else re.sub(r"([*_|<\[\]])", r"\\\1", part)
    return _ARXIV.sub(r"[arXiv \1](https://arxiv.org/abs/\1)", "".join(parts))


def restructured(lines):
    """The lines of a docstring as reStructuredText."""
    result = []
    for header, block in _blocks(lines):
        if header is None:
            result += _prose(block)
            continue
        name, first = header
        if name in TEXTS:
            text = "\n".join([first, *(line.strip() for line in block)]).strip()
            result += [f":{name}: " + _inline(text).replace("\n", "\n   "), ""]
        elif name in LISTS:
            result += [f":{LISTS[name]}:", *(f"   - **{who}** -- {what}" for who, what in _items(block)), ""]
        elif name == "Raises":
            result += [*(f":raises {who}: {what}" for who, what in _items(block)), ""]
        else:
            result += [".. rubric:: Example", "", *textwrap.dedent("\n".join(block)).splitlines(), ""]
    return [*"\n".join(result).strip("\n").splitlines(), ""]


def _header(line):
    """The name and the first words of a section that starts at this line; None if none does."""
    match = _HEADER.match(line)
    return (match[1], match[2] or "") if match and match[1] in _SECTIONS else None


def _blocks(lines):
    """The docstring cut at its sections: (None, lines) for prose, ((name, first words), lines) for a section."""
    blocks = [(None, [])]
    for line in lines:
        header, inside = _header(line), blocks[-1][0] is not None
        if header:
            blocks.append((header, []))
        elif inside and line and not line.startswith(" ") and not (blocks[-1][0][1] and blocks[-1][1][-1:] != [""]):
            blocks.append((None, [line]))
        else:
            blocks[-1][1].append(line)
    return blocks


def _prose(lines):
    """Paragraphs and lists, with what is indented under a paragraph as a literal block: formulas."""
    result, literal, in_list, text = [], False, False, []
    for line in [*lines, ""]:
        indented = line.startswith("    ") and not in_list
        if line and indented and not literal and not text:
            result += [".. code-block:: text", "", line]
            literal = True
        elif literal and (indented or not line):
            result.append(line)
        elif line:
            in_list = line.startswith("- ") or (in_list and line.startswith(" "))
            literal = False
            text.append(line)
        else:
            is_table = bool(text) and text[0].startswith("===")
            result += [*(text if is_table else _inline("\n".join(text)).splitlines()), ""]
            text = []
    return result


def _items(lines):
    """The pairs of a section of "name: description", each in one line."""
    text = textwrap.dedent("\n".join(lines)).strip()
    items = [re.sub(r"\s+", " ", item) for item in re.split(r"\n(?=\S)", text)]
    pairs = [item.partition(": ") for item in items]
    return [(_inline(name), _inline(description)) for name, _, description in pairs]


def _inline(text):
    """Text with its code between double backticks, everything else escaped, and papers linked."""
    parts = _CODE.split(text)
    for i, part in enumerate(parts):
        if i % 2:
            follows = parts[i + 1][:1]
            parts[i] = f"``{part}``" + ("\\ " if follows.isalnum() else "")
        else:
            part = re.sub(r"([\\*|`])", r"\\\1", part)
            part = re.sub(r"_(?=[^\w]|$)", r"\\_", part)
            parts[i] = _ARXIV.sub(r"`arXiv \1 <https://arxiv.org/abs/\1>`__", part)
    return "".join(parts)
