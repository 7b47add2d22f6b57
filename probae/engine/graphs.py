"""What the engine does to a recorded graph: lift its constants, compare it with another one, draw its noise first."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg

_RANDOM = torch.Tag.nondeterministic_seeded


def lift_constants(module: GraphModule) -> list[Tensor]:
    """Make inputs of the tensors that a graph holds, added after its own; returns them.

    What was neither parameter, buffer nor batch enters a recording by reference. As an input it stays that: whoever
    changes it in place is heard.

    Raises:
        TypeError: if the graph holds something else than tensors, such as a random generator of its own.
    """
    graph, found = module.graph, dict[str, Node]()
    constants: list[Tensor] = []
    first_call = next(node for node in graph.nodes if node.op != "placeholder")
    for node in [node for node in graph.nodes if node.op == "get_attr"]:
        if node.target not in found:
            value = getattr(module, node.target)
            if not isinstance(value, Tensor):
                raise TypeError(f"it uses a {type(value).__name__} of its own")
            constants.append(value)
            with graph.inserting_before(first_call):
                found[node.target] = graph.placeholder(f"constant_{len(constants)}")
        node.replace_all_uses_with(found[node.target])
        graph.erase_node(node)
    graph.lint()
    module.recompile()
    return constants


def tidy(module: GraphModule) -> None:
    """Remove what nothing depends on. Random draws stay, since the next ones depend on them."""
    module.graph.eliminate_dead_code(is_impure_node=_is_impure)
    module.recompile()


def _is_impure(node: Node) -> bool:
    return node.op in ("placeholder", "output") or _is_random(node) or _changes_its_input(node)


def _is_random(node: Node) -> bool:
    return _RANDOM in getattr(node.target, "tags", ())


def _changes_its_input(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return bool(schema is not None and schema.is_mutable)


def sized_by_values(module: GraphModule) -> Node | None:
    """The first operation whose output's size hangs on what is in its inputs: a mask as an index, nonzero, unique."""
    for node in module.graph.nodes:
        if torch.Tag.dynamic_output_shape in getattr(node.target, "tags", ()):
            dtypes = {value.meta["val"].dtype for value in _values(node) if isinstance(value, Node)}
            if node.target is not torch.ops.aten.index.Tensor or dtypes & {torch.bool, torch.uint8}:
                return node
    return None


def difference(first: GraphModule, second: GraphModule) -> tuple[Node, str] | None:
    """The first node in which two recordings of one program differ, in words; None if they are the same."""
    number = {node: index for graph in (first.graph, second.graph) for index, node in enumerate(graph.nodes)}
    for a, b in _pairs(first, second):
        if a.op != b.op or a.target != b.target:
            return a, f"once it ran {_name(a)} where it then ran {_name(b)}"
        theirs = list(_values(b))
        for x, y in zip(_values(a), theirs, strict=False):
            x, y = number.get(x, x), number.get(y, y)  # a node stands for its place
            if x is not y and (type(x) is not type(y) or (x != y and not (x != x and y != y))):  # NaN is NaN
                return a, f"{_name(a)} was given {x}, then {y}"
        if len(list(_values(a))) != len(theirs):
            return a, f"{_name(a)} was called in two ways"
    return None


def _pairs(first: GraphModule, second: GraphModule) -> Iterator[tuple[Node, Node]]:
    ours, theirs = list(first.graph.nodes), list(second.graph.nodes)
    yield from zip(ours, theirs, strict=False)
    if len(ours) != len(theirs):
        yield ours[min(len(ours), len(theirs)) - 1], theirs[min(len(ours), len(theirs)) - 2]


def _values(node: Node) -> Iterator[Any]:
    """The arguments of a node, nested ones laid out flat."""
    stack: list[Any] = [node.kwargs, node.args]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack.extend(reversed([*item.keys(), *item.values()]))
        elif isinstance(item, (tuple, list)):
            stack.extend(reversed(item))
        else:
            yield item


def _name(node: Node) -> str:
    return str(node.target).removesuffix(".default")


def split_noise(module: GraphModule) -> tuple[GraphModule, GraphModule] | None:
    """Cut a graph into one that draws its noise, without inputs, and one that takes those draws as further inputs.

    A compiler may reorder what a graph draws; drawn before it, in the order of the recording, the numbers are those of
    the recording. Returns None where a draw depends on what was computed, such as a Gamma's on its concentration.
    """
    noise, copies, drawn = Graph(), dict[Node, Node](), list[Node]()
    for node in module.graph.nodes:
        if not _is_random(node) and not _is_empty(node):
            continue
        arguments = [argument for argument in _values(node) if isinstance(argument, Node)]
        if _asks_for_the_shape_alone(node):
            copies |= {a: _blank(noise, a) for a in arguments if a not in copies}
        if not all(a in copies for a in arguments):
            if _is_random(node):
                return None
            continue
        copies[node] = noise.node_copy(node, copies.__getitem__)
        if _is_random(node):
            drawn.append(node)
    if any(_is_seen_before(node, drawn) for node in copies):
        return None
    noise.output(tuple(copies[node] for node in drawn))
    return GraphModule({}, noise), _given(module, drawn)


def _asks_for_the_shape_alone(node: Node) -> bool:
    name = str(node.target).split(".")[1]
    return name.endswith("_like") or name.startswith("new_")


def _is_seen_before(node: Node, drawn: list[Node]) -> bool:
    """Whether room that a draw fills has another user too, such as a view of it."""
    users = [user in drawn for user in node.users]
    return _is_empty(node) and any(users) and not all(users)


def _is_empty(node: Node) -> bool:
    """Whether a node only makes room for numbers."""
    name = str(node.target)
    return name.startswith(("aten.empty", "aten.new_empty"))


def _blank(graph: Graph, like: Node) -> Node:
    """Room of the shape, the layout and the dtype that a node had when it was recorded."""
    meta = like.meta["tensor_meta"]
    options = {"dtype": meta.dtype, "device": like.meta["device"]}
    return graph.call_function(torch.ops.aten.empty_strided.default, (list(meta.shape), list(meta.stride)), options)


def _given(module: GraphModule, drawn: list[Node]) -> GraphModule:
    """A copy of the graph in which the draws are inputs, after all others."""
    graph, copies = Graph(), dict[Node, Node]()
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    for node in inputs:
        copies[node] = graph.node_copy(node)
    for index, node in enumerate(drawn):
        copies[node] = graph.placeholder(f"noise_{index + 1}")
    for node in module.graph.nodes:
        if node.op == "output":
            graph.output(map_arg(node.args[0], copies.__getitem__))
        elif node not in copies:
            copies[node] = graph.node_copy(node, copies.__getitem__)
    given = GraphModule({}, graph)
    tidy(given)
    return given


def num_operations(module: GraphModule) -> int:
    """How many operations a graph runs."""
    return sum(node.op == "call_function" and node.target is not operator.getitem for node in module.graph.nodes)
