"""Programs of the kinds that Pyro's own examples show, as a user of Pyro writes them, without a word of probae.

`PROGRAMS` holds them in a realistic size, for timing; `SMALL` the same ones with steps of milliseconds, for tests. The
semi-supervised VAE is given labelled and unlabelled batches in turn; `semi_supervised_vae.labelled` and `.unlabelled`
make a program of either kind alone.
"""

from benchmarks.programs import (
    conditional_vae,
    deep_markov,
    exponential_family,
    mixture,
    regression,
    semi_supervised_vae,
    vae,
)
from benchmarks.programs.program import Pair, Program, together

_FILES = {
    "vae": vae,
    "conditional_vae": conditional_vae,
    "semi_supervised_vae": semi_supervised_vae,
    "deep_markov": deep_markov,
    "exponential_family": exponential_family,
    "regression": regression,
    "mixture": mixture,
}

PROGRAMS: dict[str, Program] = {name: file.FULL for name, file in _FILES.items()}
SMALL: dict[str, Program] = {name: file.SMALL for name, file in _FILES.items()}

__all__ = ["PROGRAMS", "SMALL", "Pair", "Program", "together"]
