"""Ways to alter the files of a saved model, drawn from a random generator."""

from __future__ import annotations

import io
import json
import pickle
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

Files = dict[str, bytes | Path]
"""Name -> content; a path stands for a link to it."""

Alteration = Callable[[random.Random, Files, str, Files], Any]
"""Alters the file of that name in a folder; the last files are those of another model."""


# Alterations of any file, byte by byte.


def on_bytes(change: Callable[[random.Random, bytes], bytes]) -> Alteration:
    def alter(rng: random.Random, altered: Files, name: str, other: Files) -> None:
        altered[name] = change(rng, altered[name])  # type: ignore[arg-type]

    return alter


def place(rng: random.Random, content: bytes) -> int:
    return rng.randrange(len(content))


def flip_bits(rng: random.Random, content: bytes) -> bytes:
    flipped = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        flipped[place(rng, content)] ^= 1 << rng.randrange(8)
    return bytes(flipped)


def set_byte(rng: random.Random, content: bytes) -> bytes:
    at = place(rng, content)
    return content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]


def insert(rng: random.Random, content: bytes) -> bytes:
    at = place(rng, content)
    return content[:at] + rng.randbytes(rng.choice([1, 2, 100])) + content[at:]


def delete(rng: random.Random, content: bytes) -> bytes:
    at = place(rng, content)
    return content[:at] + content[at + rng.choice([1, 2, 100]) :]


def repeat(rng: random.Random, content: bytes) -> bytes:
    at, end = sorted((place(rng, content), place(rng, content)))
    return content[:end] + content[at:]


def zero(rng: random.Random, content: bytes) -> bytes:
    at, size = place(rng, content), rng.choice([1, 8, 512])
    return content[:at] + bytes(len(content[at : at + size])) + content[at + size :]


def swap(rng: random.Random, content: bytes) -> bytes:
    at, end = sorted((place(rng, content), place(rng, content)))
    return content[end:] + content[at:end] + content[:at]


def pickled(rng: random.Random, content: bytes) -> bytes:
    if rng.random() < 0.5:
        return pickle.dumps({"weight": [0.0]}, protocol=rng.randrange(5))
    torch.save({"weight": torch.zeros(3)}, file := io.BytesIO())
    return file.getvalue()


BYTES: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "flip bits": flip_bits,
    "set a byte": set_byte,
    "insert": insert,
    "delete": delete,
    "repeat": repeat,
    "zero": zero,
    "swap": swap,
    "truncate": lambda rng, content: content[: place(rng, content)],
    "behead": lambda rng, content: content[1 + place(rng, content) :],
    "append": lambda rng, content: content + rng.choice([b"\0", b"}", b"\n{}", content, rng.randbytes(9)]),
    "prepend": lambda rng, content: rng.choice([b"\xef\xbb\xbf", b"\0", b"{", rng.randbytes(9)]) + content,
    "empty": lambda rng, content: rng.choice([b"", b"\0" * 4096, b" "]),
    "reverse": lambda rng, content: content[::-1],
    "noise": lambda rng, content: rng.randbytes(len(content)),
    "pickle": pickled,
    "lines as in Windows": lambda rng, content: content.replace(b"\n", b"\r\n"),
    "upper case": lambda rng, content: content.upper(),
}


# Alterations of a folder.


def lose(rng: random.Random, altered: Files, name: str, other: Files) -> None:
    del altered[name]


def take_anothers(rng: random.Random, altered: Files, name: str, other: Files) -> None:
    (theirs,) = (content for key, content in other.items() if key[-4:] == name[-4:])
    altered[name] = theirs


def exchange(rng: random.Random, altered: Files, name: str, other: Files) -> None:
    one, two = altered
    altered[one], altered[two] = altered[two], altered[one]


def link(rng: random.Random, altered: Files, name: str, other: Files) -> None:
    targets = ["/dev/zero", "/etc/passwd", "..", ".", name, "/nowhere/at/all", "/proc/self/mem"]
    altered[name] = Path(rng.choice(targets))


FOLDER: dict[str, Alteration] = {"lose": lose, "another's": take_anothers, "exchange": exchange, "link": link}


# Alterations of the values in `model.json`, whose digest stays.

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 10**9, 10**30, 2**63, 10**4000, 0.0, -0.0, 0.5, 1.0, 1e308, 5e-324, float("nan"),
    float("inf"), -float("inf"), "", "VAE", "RBM", "tanh", "normal", "x" * 1000, "\0", "\ud800", "../../etc/passwd", [],
    [[]], [0], [4], [1.5], ["\0"], [None] * 50, {}, {"name": "normal"}, {"": 0}, {"__class__": "os.system"},
]  # fmt: skip


def parents(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each (container, key) in a JSON value."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from parents(value[key])


def replace_value(rng: random.Random, settings: dict[str, Any]) -> None:
    container, key = rng.choice(list(parents(settings)))
    container[key] = rng.choice(VALUES)


def nest(rng: random.Random, settings: dict[str, Any]) -> None:
    container, key = rng.choice(list(parents(settings)))
    for _ in range(rng.choice([1, 10, 300])):
        container[key] = rng.choice([[container[key]], {"name": container[key]}])


def rename(rng: random.Random, settings: dict[str, Any]) -> None:
    container, key = rng.choice([pair for pair in parents(settings) if isinstance(pair[0], dict)])
    container[rng.choice([key + "s", key.upper(), "", "self"])] = container.pop(key)


def drop(rng: random.Random, settings: dict[str, Any]) -> None:
    container, key = rng.choice(list(parents(settings)))
    del container[key]


def add(rng: random.Random, settings: dict[str, Any]) -> None:
    containers = [settings, *(container[key] for container, key in parents(settings))]
    rng.choice([c for c in containers if isinstance(c, dict)])["more"] = rng.choice(VALUES)


JSON = {"replace a value": replace_value, "nest": nest, "rename": rename, "drop": drop, "add": add}


def on_json(change: Callable[[random.Random, dict[str, Any]], None]) -> Alteration:
    def alter(rng: random.Random, altered: Files, name: str, other: Files) -> None:
        settings = json.loads(altered["model.json"])  # type: ignore[arg-type]
        change(rng, settings)
        altered["model.json"] = json.dumps(settings).encode()

    return alter


def say_twice(rng: random.Random, altered: Files, name: str, other: Files) -> None:
    """The last one counts in JSON; here it is a wrong one."""
    text = altered["model.json"].decode().rstrip().removesuffix("}")  # type: ignore[union-attr]
    field, value = rng.choice(["format", "model", "config", "dtype", "weights", "sha256"]), rng.choice(VALUES)
    altered["model.json"] = f"{text}, {json.dumps(field)}: {json.dumps(value)}}}".encode()


def deep(rng: random.Random, altered: Files, name: str, other: Files) -> None:
    depth, (left, right) = rng.choice([990, 5000, 100_000]), rng.choice([("[", "]"), ('{"a":', "}")])
    nested = left * depth + "0" + right * depth
    settings = altered["model.json"].decode()  # type: ignore[union-attr]
    altered["model.json"] = rng.choice([nested, settings.replace('"format": 2', f'"format": {nested}')]).encode()


def huge(rng: random.Random, altered: Files, name: str, other: Files) -> None:
    text = altered["model.json"].decode()  # type: ignore[union-attr]
    number = rng.choice(["9" * 10_000, "1e" + "9" * 1000, "-" + "9" * 4000, "0." + "1" * 10_000])
    bad = [text.replace('"format": 2', f'"format": {number}'), text + " " * 2**20, '{"a": 0}' + "\n" * 2**21]
    altered["model.json"] = rng.choice(bad).encode()


ALTERATIONS: dict[str, Alteration] = {
    **{name: on_bytes(change) for name, change in BYTES.items()},
    **FOLDER,
    **{name: on_json(change) for name, change in JSON.items()},
    "say twice": say_twice,
    "deep": deep,
    "huge": huge,
}
