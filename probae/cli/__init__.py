"""The command line: `probae train`, `evaluate`, `sample` and `plot`, generated from the library's own signatures."""

from probae.cli.commands import main

__all__ = ["main"]
