"""What every test starts from: a fixed seed, an empty parameter store, its share of the cores, and no window."""

import os

os.environ.setdefault("MPLBACKEND", "Agg")  # before anything imports matplotlib

import pyro
import pytest
import torch
from hypothesis import settings

# The first call of anything in torch is slow, so no deadlines; and the same examples in each run, so that a check never
# fails by chance. HYPOTHESIS_PROFILE=explore looks for new ones.
settings.register_profile("probae", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "probae"))


def pytest_configure(config: pytest.Config) -> None:
    """Divide the cores between the test processes; they would fight for them otherwise."""
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if workers > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu` where there is no CUDA device."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(autouse=True)
def clean_slate() -> None:
    """Pyro's parameter store is global, and so are the random generators: no test inherits another's."""
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
