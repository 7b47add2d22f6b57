"""`import probae` stays light: what only some users need is imported when they use it."""

import json
import subprocess
import sys

# Heavy, and needed for one purpose each: plots, data sets, linear probes, notebooks, the command line, compiling.
FORBIDDEN = {
    "IPython", "PIL", "ipywidgets", "jsonargparse", "matplotlib", "pandas", "scipy", "sklearn", "sympy", "tensorboard",
    "torch._dynamo", "torch._inductor", "torchvision", "tqdm.notebook", "triton", "yaml", "zuko",
}  # fmt: skip


def run_python(code: str) -> str:
    """What a fresh interpreter prints when it runs `code`, with warnings as errors."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_brings_nothing_heavy_beyond_pyro() -> None:
    code = (
        "import json, sys, pyro; before = set(sys.modules); import probae; "
        "assert probae.__file__; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    assert set(json.loads(run_python(code))) & FORBIDDEN == set()


def test_plots_come_on_demand() -> None:
    run_python("import sys, probae as pb; pb.plots.image_grid; assert 'matplotlib' in sys.modules")


def test_the_face_of_scikit_learn_comes_on_demand() -> None:
    run_python("import sys, probae as pb; pb.sklearn.AutoencoderTransformer(); assert 'sklearn' in sys.modules")
