"""What a model, a guide and an objective train: parameters and buffers, wherever a Pyro program keeps them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import pyro
import torch
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from probae.engine.modules import owners, referred


class Programs:
    """A model, a guide and an objective with everything that training changes in them.

    Trained are: the parameters of modules that the callables are or are bound to, those in `pyro.param` and
    `pyro.module` statements (unconstrained, in the store itself), and the objective's. Modules that a function merely
    refers to are not trained unless it registers them (that is Pyro's rule), but their buffers belong to the state,
    and they are switched between training and evaluation like the others.

    Attributes:
        modules: all modules found, none a part of another.
        statements: the unconstrained tensors of `pyro.param` statements, by name.
    """

    def __init__(self, model: Callable[..., Any], guide: Callable[..., Any], objective: Callable[..., Any]) -> None:
        self.model, self.guide, self.objective = model, guide, objective
        programs = (model, guide, objective)
        self.owners = _unique([module for program in programs for module in owners(program)])
        self.modules = _outermost([*self.owners, *(module for program in programs for module in referred(program))])
        self.statements: dict[str, Tensor] = {}
        self._registered: set[int] = set()

    def own(self, modules: list[nn.Module]) -> None:
        """Train these modules too: the programs have named them while they ran."""
        self.owners = _unique([*self.owners, *modules])
        self.modules = _outermost([*self.modules, *modules])

    def adopt(self, *traces: Trace) -> list[Tensor]:
        """Take the parameters of `pyro.param` and `pyro.module` statements in traces; returns the new ones."""
        known = {id(p) for p in self.parameters()}
        sites = [(name, site) for trace in traces for name, site in trace.nodes.items() if site["type"] == "param"]
        found = {name: _leaf(site["value"]) for name, site in sites}
        owned = {id(p) for module in self.modules for p in module.parameters()}
        self.statements.update({name: leaf for name, leaf in found.items() if id(leaf) not in owned})
        self._registered |= {id(leaf) for leaf in found.values()}
        return [leaf for leaf in _unique(list(found.values())) if id(leaf) not in known]

    def parameters(self) -> list[Tensor]:
        """All trained tensors, each once; frozen ones too, since a callback may free them later."""
        leaves = [p for module in self.owners for p in module.parameters()]
        leaves += [p for module in self.modules for p in module.parameters() if id(p) in self._registered]
        return [p for p in _unique([*leaves, *self.statements.values()]) if p.is_floating_point() or p.is_complex()]

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that training can change, by a stable name: parameters, buffers, statements."""
        found: dict[str, Tensor] = {}
        for index, module in enumerate(self.modules):
            named = [*module.named_parameters(), *_persistent_buffers(module)]
            found |= {f"module{index}.{name}": tensor.detach() for name, tensor in named if not is_lazy(tensor)}
        return found | {f"param.{name}": leaf.detach() for name, leaf in self.statements.items()}

    def buffers(self) -> list[tuple[nn.Module, str, Tensor]]:
        """Every buffer with the module that it belongs to and its name there."""
        parts = [part for module in self.modules for part in module.modules()]
        return [(part, name, buffer) for part in parts for name, buffer in part.named_buffers(recurse=False)]

    def leaves(self) -> list[Tensor]:
        """Every tensor that the programs hold as a parameter, a buffer (kept or not) or a statement, each once."""
        parameters = [p for module in self.modules for p in module.parameters() if not is_lazy(p)]
        buffers = [buffer for _, _, buffer in self.buffers()]
        return _unique([*parameters, *buffers, *self.statements.values()])

    def snapshot(self, into: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
        """A copy of all tensors, into existing storage where given."""
        tensors = self.tensors()
        if into is None or into.keys() != tensors.keys():
            return {name: tensor.clone() for name, tensor in tensors.items()}
        for name, tensor in tensors.items():
            into[name].copy_(tensor)
        return into

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Write a snapshot back in place; what has come into being since keeps its values.

        What has not changed is not written: a gradient may still be on its way through it.
        """
        for name, tensor in self.tensors().items():
            if name in tensors and not torch.equal(tensor, value := tensors[name].to(tensor.device)):
                tensor.copy_(value)

    def to(self, device: torch.device, dtype: torch.dtype | None = None) -> None:
        """Move modules and statements in place, and floating-point ones to a dtype; tensors keep their identity."""
        for module in self.modules:
            module.to(device, dtype)
        for leaf in self.statements.values():
            leaf.data = leaf.data.to(device, dtype if leaf.is_floating_point() else None)

    @contextmanager
    def mode(self, training: bool) -> Generator[None]:
        """All modules in training or evaluation mode, and back."""
        before = [(part, part.training) for module in self.modules for part in module.modules()]
        for module in self.modules:
            module.train(training)
        try:
            yield
        finally:
            for part, was in before:
                part.training = was

    def forget_gradients(self) -> None:
        """Clear those of all modules, trained or not: what an earlier backward pass has left is no part of a step."""
        for tensor in (*self.parameters(), *(p for module in self.modules for p in module.parameters())):
            tensor.grad = None

    def warn_of_untrained(self) -> None:
        """After a backward pass: warn of modules that received gradients which nobody applies."""
        trained = {id(p) for p in self.parameters()}
        named = [pair for module in self.modules for pair in module.named_parameters()]
        lost = [name for name, p in named if p.grad is not None and id(p) not in trained]
        if lost:
            warnings.warn(
                f"{', '.join(lost[:4])}{', ...' if len(lost) > 4 else ''} get gradients but are not trained: no "
                "pyro.module statement registers them, or its name is another module's in the parameter store "
                "(pyro.clear_param_store() forgets that one)",
                UserWarning,
                stacklevel=3,
            )


def _leaf(value: Any) -> Tensor:
    """What stands behind a parameter's value: the unconstrained tensor, or itself if it is local to a module."""
    return value.unconstrained() if hasattr(value, "unconstrained") else value


def _unique(items: list[Any]) -> list[Any]:
    return list({id(item): item for item in items}.values())


def _outermost(modules: list[nn.Module]) -> list[nn.Module]:
    """The modules, each once, that are no part of another one in the list."""
    inner = {id(part) for module in modules for part in module.modules() if part is not module}
    return [module for module in _unique(modules) if id(module) not in inner]


def _persistent_buffers(module: nn.Module) -> list[tuple[str, Tensor]]:
    kept = module.state_dict(keep_vars=True)
    return [(name, buffer) for name, buffer in module.named_buffers() if name in kept]


def store_size() -> int:
    """How many parameters Pyro's store holds: when it grows, a program has made new ones."""
    return len(pyro.get_param_store())
