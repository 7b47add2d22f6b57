"""What commands say, and to whom: results on the standard output, everything else on the standard error."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable

INTERRUPTED = 130
"""The exit status of what Ctrl-C has ended: 128 and the number of the signal."""


def say(text: str) -> None:
    """A line for the user."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """A line on the standard error."""
    sys.stdout.flush()
    sys.stderr.write(f"{text}\n")


def aligned(rows: Iterable[tuple[str, str]]) -> str:
    """Two columns, indented, the second one as wide as the terminal allows.

    Example:
        >>> print(aligned([("a", "one"), ("bcd", "two")]))
          a    one
          bcd  two
    """
    pairs = list(rows)
    width = max((len(name) for name, _ in pairs), default=0)
    columns, indent = max(shutil.get_terminal_size().columns, width + 40), " " * (width + 4)
    texts = (textwrap.wrap(f"  {name.ljust(width)}  {text}", columns, subsequent_indent=indent) for name, text in pairs)
    return "\n".join(line for lines in texts for line in lines)
