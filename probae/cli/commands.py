"""`probae`: which command is meant, and how errors end."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable

import pyro
import torch

import probae
from probae import checks
from probae.cli.evaluate import evaluate
from probae.cli.options import first_line
from probae.cli.plot import plot
from probae.cli.sample import sample
from probae.cli.terminal import INTERRUPTED, aligned, complain, say
from probae.cli.train import train
from probae.errors import ProbaeError

COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": train, "evaluate": evaluate, "sample": sample, "plot": plot,
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the words after "probae"; those of the process by default.

    Returns:
        The exit status: 0, 2 after an error that the message explains, 130 after Ctrl-C.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    name = words[0] if words and words[0] in COMMANDS else ""
    try:
        return _command(words)
    except SystemExit as end:  # of argparse, after its help
        return int(end.code or 0)
    except KeyboardInterrupt:
        complain("probae: interrupted")
        return INTERRUPTED
    except (ProbaeError, OSError) as error:
        complain(f"probae {name}".rstrip() + f": error: {' '.join(str(error).split())}")
        return 2


def overview() -> str:
    """The help of `probae` itself."""
    table = aligned((name, first_line(command)) for name, command in COMMANDS.items())
    return f"""\
usage: probae COMMAND [options]

{first_line(probae)}.

commands:
{table}

examples:
  probae train vae --data digits --binarize dynamic --epochs 100 --output runs/vae
  probae evaluate runs/vae --num_samples 5000
  probae plot runs/vae
  probae train --config runs/vae/config.yaml --latent_dim 8 --output runs/vae-8

probae COMMAND --help says more, probae train MODEL --help lists the options of a model."""


def _command(words: list[str]) -> int:
    if words[:1] in ([], ["-h"], ["--help"]):
        say(overview())
        return 0
    if words[0] == "--version":
        versions = f"torch {torch.__version__}, pyro {pyro.__version__}, Python {platform.python_version()}"
        say(f"probae {probae.__version__} ({versions})")
        return 0
    return COMMANDS[checks.choice("command", words[0], COMMANDS)](words[1:])
