"""A network as a graph of its layers, for policies that read it.

The graph is ours: Xiong et al. describe one of transformer blocks. Nodes are weighted units and
residual additions, edges follow the data. A normalisation right after a unit belongs to it
(conv + BN). Parameters outside modules (a block's gamma) belong to no node.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass, field

import torch
from torch import Tensor, fx, nn

KINDS = ("conv", "linear", "embedding", "norm", "add", "other")
_CONV = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm)
_ADD = (operator.add, operator.iadd, torch.add)


@dataclass
class LayerGraph:
    """V nodes in the order of the data.

    Attributes:
        kinds: V names of `KINDS`.
        modules: V lists of module names; empty for additions.
        edges: sorted (from, to).
    """

    kinds: list[str] = field(default_factory=list)
    modules: list[list[str]] = field(default_factory=list)
    edges: list[tuple[int, int]] = field(default_factory=list)

    def add(self, kind: str, modules: list[str], sources: set[int]) -> int:
        node = len(self.kinds)
        self.kinds.append(kind)
        self.modules.append(modules)
        self.edges += [(source, node) for source in sorted(sources)]
        return node


def layer_graph(network: nn.Module) -> LayerGraph:
    """The graph of a network's layers, by torch.fx; where that cannot follow the data (its forward
    branches on shapes or values, as text-minigpt's), a chain in the order of registration."""
    try:
        graph = _traced(network)
    except Exception:  # whatever a forward does with a tensor that isn't one
        graph = LayerGraph()
    return graph if graph.kinds else _chain(network)


def unit_features(network: nn.Module, graph: LayerGraph) -> Tensor:
    """(V, 4) on the CPU: means of weights, biases, |gradients| of weights and of biases.

    Over all parameters of a node's modules, 0 where there is none; an addition has the sum of its
    sources' rows.
    """
    zero = next(network.parameters()).detach().new_zeros(())
    rows: list[Tensor] = []
    for node, modules in enumerate(graph.modules):
        if graph.kinds[node] == "add":
            rows.append(torch.stack([rows[a] for a, b in graph.edges if b == node]).sum(0))
            continue
        owned = [(n, p) for m in modules for n, p in network.get_submodule(m).named_parameters()]
        biases = [p for n, p in owned if n.endswith("bias")]
        weights = [p for n, p in owned if not n.endswith("bias")]
        grads = [[p.grad.abs() for p in part if p.grad is not None] for part in (weights, biases)]
        parts = [[p.detach() for p in weights], [p.detach() for p in biases], *grads]
        rows.append(torch.stack([_mean(part, zero) for part in parts]))
    return torch.stack(rows).cpu()


def _mean(tensors: list[Tensor], zero: Tensor) -> Tensor:
    if not tensors:
        return zero
    return sum((t.sum() for t in tensors), zero) / sum(t.numel() for t in tensors)


def _traced(network: nn.Module) -> LayerGraph:
    graph = LayerGraph()
    units: dict[fx.Node, int] = {}
    sources: dict[fx.Node, set[int]] = {}  # nodes whose output a value is made of
    for step in fx.Tracer().trace(network).nodes:
        inputs = [sources[node] for node in step.all_input_nodes]
        flow = set().union(*inputs)
        module = network.get_submodule(step.target) if step.op == "call_module" else None
        if module is not None and any(True for _ in module.parameters()):
            before = step.all_input_nodes[0]
            if isinstance(module, _NORM) and before in units:
                graph.modules[units[before]].append(step.target)
            else:
                units[step] = graph.add(_kind(module), [step.target], flow)
                flow = {units[step]}
        elif _is_add(step) and len({frozenset(i) for i in inputs if i}) > 1:
            flow = {graph.add("add", [], flow)}
        sources[step] = flow
    return graph


def _is_add(step: fx.Node) -> bool:
    called = step.op == "call_function" and step.target in _ADD
    return called or (step.op == "call_method" and step.target in ("add", "add_"))


def _chain(network: nn.Module) -> LayerGraph:
    graph = LayerGraph()
    for name, module in network.named_modules():
        if not any(True for _ in module.parameters(recurse=False)):
            continue
        if isinstance(module, _NORM) and graph.kinds:
            graph.modules[-1].append(name)
        else:
            last = len(graph.kinds) - 1
            graph.add(_kind(module), [name], {last} if last >= 0 else set())
    return graph


def _kind(module: nn.Module) -> str:
    kinds: dict[str, tuple[type[nn.Module], ...]] = {
        "conv": _CONV,
        "linear": (nn.Linear,),
        "embedding": (nn.Embedding,),
        "norm": _NORM,
    }
    return next((name for name, types in kinds.items() if isinstance(module, types)), "other")
