"""The tables of results in README.md and docs/measured.md, made from the files in benchmarks/results. Run as

    python -m benchmarks.report           # rewrite the tables
    python -m benchmarks.report --check   # only say whether they are those of the files

A table stands between the lines `<!-- results: NAME -->` and `<!-- end of results -->`.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.common import RESULTS

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "README.md", ROOT / "docs" / "measured.md"
PLACE = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end of results -->)", re.DOTALL)
MISSING = "–"
HEADER = ["work", "other", "probae, ms", "probae / other", "from – to"]
FIRST = {
    ("vae", "pyro.infer.SVI"), ("vae", "by hand, torch.compile"), ("vae", "pythae's trainer"),
    ("mixture", "pyro.infer.SVI"), ("rbm", "by hand, torch.compile"), ("rbm", "learnergy (CD-1)"),
    ("rbm", "scikit-learn"), ("rbm_bf16", "scikit-learn"),
}  # fmt: skip
Rows = Iterable[Sequence[str]]

HINTON, RIFAI = "Hinton and Salakhutdinov 2006, 60,000 images", "Rifai et al. 2011, more epochs, settings from a grid"
PUBLISHED = {
    "sigmoid, pretrained by RBMs": f"3.00 ({HINTON})", "principal components": f"13.87 ({HINTON})",
    "autoencoder": f"1.78 ({RIFAI})", "denoising, masking": "1.57", "contractive": "1.14", "RBM": "1.30",
}  # fmt: skip
"""What the papers print for such a model, by its name in the results."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the tables, or look whether they are up to date: 0 if so."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; 1 if a table is not that of the files")
    given = parser.parse_args(arguments)
    stale = 0
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = filled(before)
        stale += before != after
        if not given.check:
            page.write_text(after, encoding="utf-8")
    return stale if given.check else 0


def filled(text: str) -> str:
    """A Markdown text with its tables made anew."""
    return PLACE.sub(lambda place: f"{place[1]}\n{TABLES[place[2]]()}\n{place[3]}", text)


def likelihoods() -> str:
    """log p(x) of test images: one row for a model and its training, over its seeds."""
    test = results("vae_mnist")["test"]
    rows = [[
        "VAE 784-200-200-50, dynamic bits, ten minutes (`vae_mnist`)", f"{test['value']:.2f}", "1",
        f"{test['stderr']:.3f}", f"{test['stderr_data']:.2f}", "lower bound, K = 1000", believed([test["reliable"]]),
    ]]  # fmt: skip
    for name, seeds in results("rbm_mnist")["settings"].items():
        found = list(seeds.values())
        rows.append([
            f"RBM 784-500, dynamic bits, {name} (`rbm_mnist`)", over_seeds(row["value"] for row in found),
            str(len(found)), f"{max(row['stderr'] for row in found):.2f}",
            f"{max(row['stderr_data'] for row in found):.2f}", "upper bound, AIS",
            believed([row["reliable"] for row in found]),
        ])  # fmt: skip
        back = over_seeds(row["conservative"] for row in found)
        rows.append(["&nbsp;&nbsp;the same by reverse AIS from annealed starts", back, *[""] * 5])
    for name, seeds in results("rbm_small")["rows"].items():
        words = name.replace("bars and stripes:", "RBM 16-16, bars and stripes 4x4, 10,000 steps,")
        words = words.replace("MNIST:", "RBM 784-16, thresholded MNIST, 20 epochs,")
        values = [row["value"] for row in seeds.values()]
        error = max(row["stderr_data"] for row in seeds.values()) if "MNIST" in name else None
        rows.append([f"{words} (`rbm_small`)", over_seeds(values), str(len(values)), "0",
                     MISSING if error is None else f"{error:.2f}", "exact", "yes"])  # fmt: skip
    header = ["model and training", "log p(x), nats", "seeds", "± Monte Carlo", "± data", "direction", "`reliable`"]
    return table(header, rows)


def headlines() -> str:
    """The comparisons that a reader looks for first."""
    return table(HEADER, [row for key, row in steps() if key in FIRST])


def steps() -> Iterator[tuple[tuple[str, str], list[str]]]:
    """The comparisons of `benchmarks.throughput`, by the names of the work and of the rival."""
    for file in ("throughput", "throughput_rbm"):
        for name, row in results(file)["rows"].items():
            for other, ratio in row["engine_over"].items():
                floor = " (a floor)" if "alone" in other else ""
                shown = milliseconds(row["timings"]["engine"])
                yield (name, other), [row["work"], f"{other}{floor}", shown, *spread(ratio)]


def times() -> str:
    """One comparison a row."""
    rows = [row for _, row in steps()]
    speed = results("partition")["parts"]["speed"]["rows"]
    for name, row in speed.items():
        if name != "by hand, eager":
            ratio = row["repeats"][-1] / speed["by hand, eager"]["repeats"][-1]
            work = f"AIS, 784x500, 14,500 temperatures, 100 chains, {name} (with an empty cache of the compiler "
            rows.append([f"{work}{1e3 * row['repeats'][0]:,.0f} ms)", "by hand, eager, float32",
                         milliseconds({"median": row["repeats"][-1]}), f"{ratio:.2f}", MISSING])  # fmt: skip
    search = results("hashing")["search"]
    for other in ("scikit_learn", "scipy"):
        rows.append(["nearest of 50,000 codes of 32 bits", other.replace("_", "-"),
                     milliseconds(search["seconds"]["hamming_search"]), *spread(search[f"over_{other}"])])  # fmt: skip
    start = results("import_time")
    rows.append(["import probae", "import pyro", milliseconds(start["seconds"]["import probae"]),
                 *spread(start["ratio"])])  # fmt: skip
    return table(HEADER, rows)


def tasks() -> str:
    """What else models were judged by."""
    deep = "squared error of a test image, autoencoder 784-1000-500-250-30 (`deep_autoencoder`)"
    rows = [[deep, name, f"{row['test']:.2f}", PUBLISHED.get(name, "")]
            for name, row in results("deep_autoencoder")["rows"].items()]  # fmt: skip
    error = "test error in %, 1,000 hidden units, pretrained as (`pretrained_classifiers`)"
    for name, seeds in results("pretrained_classifiers")["kinds"].items():
        values = [100 * row["test"] for row in seeds.values()]
        rows.append([error, name, f"{sum(values) / len(values):.2f}", PUBLISHED.get(name, "")])
    strange = "AUROC, one digit held out as the anomaly, mean of ten (`anomalies`)"
    rows += [[strange, name, f"{row['mean']:.3f}", ""] for name, row in results("anomalies")["models"].items()]
    return table(["MNIST, one seed", "model", "result", "published"], rows)


def kinds() -> str:
    """Five kinds of VAE under one protocol."""
    rows = []
    for name, row in results("vae_kinds")["kinds"].items():
        shown = {"better, as the papers report": "yes", "the baseline": ""}.get(row["verdict"], "inconclusive")
        difference = f"{row['difference']:+.2f} ± {row['stderr_difference']:.2f}" if shown else ""
        rows.append([name, f"{row['value']:.2f} ± {row['stderr_seeds']:.2f}", believed(row["reliable"]), difference,
                     shown])  # fmt: skip
    header = ["kind", "log p(x), lower bound", "`reliable`", "minus standard prior", "published order reproduced?"]
    return table(header, rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "headlines": headlines, "likelihoods": likelihoods, "times": times, "tasks": tasks, "kinds": kinds
}  # fmt: skip


def results(name: str) -> dict[str, Any]:
    """What a benchmark found."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["results"]


def over_seeds(values: Iterable[float]) -> str:
    """The mean, and how far the seeds are apart.

    Example:
        >>> over_seeds([-1.0, -2.0])
        '-1.50 (-2.00 to -1.00)'
    """
    found = list(values)
    mean = f"{sum(found) / len(found):.2f}"
    return mean if len(found) == 1 else f"{mean} ({min(found):.2f} to {max(found):.2f})"


def believed(verdicts: Iterable[bool]) -> str:
    """Of how many estimates.

    Example:
        >>> believed([True, False]), believed([False])
        ('1 of 2', 'no')
    """
    found = list(verdicts)
    return {0: "no", len(found): "yes"}.get(sum(found), f"{sum(found)} of {len(found)}")


def milliseconds(timing: Mapping[str, Any]) -> str:
    """The median.

    Example:
        >>> milliseconds({"median": 0.00421}), milliseconds({"median": 14.2})
        ('4.21', '14,200')
    """
    shown = 1e3 * timing["median"]
    return f"{shown:.3g}" if shown < 1000 else f"{float(f'{shown:.3g}'):,.0f}"


def spread(ratio: Mapping[str, Any]) -> tuple[str, str]:
    """The median ratio, and the least and the largest of the repeats."""
    return f"{ratio['median']:.2f}", f"{ratio['min']:.2f} – {ratio['max']:.2f}"


def table(header: Sequence[str], rows: Rows) -> str:
    """In Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


if __name__ == "__main__":
    raise SystemExit(main())
