"""The residual stream of an ONNX graph, whose additions are left to the norms that follow them."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

from .builder import GraphBuilder

__all__ = ["Residual"]


@dataclass
class Residual:
    """A value, and a branch still to be added to it: the next norm does both in one node."""

    value: ir.Value
    branch: ir.Value | None = None

    def plus(self, branch: ir.Value) -> Residual:
        """This and a branch; between two branches there is a norm, which adds the first."""
        assert self.branch is None
        return Residual(self.value, branch)

    def added(self, total: ir.Value) -> None:
        """A norm has added the branch: from now on it is in the value."""
        self.value, self.branch = total, None

    def at(self, rows: ir.Value, graph: GraphBuilder) -> Residual:
        """These rows of both terms `[1, tokens, hidden]`."""
        terms = [self.value, *([] if self.branch is None else [self.branch])]
        return Residual(
            *(
                graph.op("Gather", term, rows, name=f"last/{name}", axis=1)
                for name, term in zip(("hidden", "branch"), terms)  # noqa: B905 - either may end
            )
        )
