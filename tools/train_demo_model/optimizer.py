"""Muon for the matrices inside the layers, AdamW for everything else."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


class Muon(torch.optim.Optimizer):
    """Momentum whose every update is made (nearly) orthogonal; stacked matrices are batched."""

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float, weight_decay: float
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # no loss to return
        """One update from the gradients; a closure is not for this optimizer."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                gradient, momentum = parameter.grad, state["momentum"]
                momentum.lerp_(gradient, 1 - group["momentum"])
                update = orthogonal(gradient.lerp(momentum, group["momentum"]))
                rows, columns = parameter.shape[-2:]
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"] * max(1, rows / columns) ** 0.5)


def orthogonal(matrix: Tensor, steps: int = 5) -> Tensor:
    """Pushes all singular values of [..., rows, columns] towards 1 (Newton-Schulz, in bf16)."""
    a, b, c = _NEWTON_SCHULZ
    x = matrix.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    result: Tensor = x.mT if tall else x
    return result.to(matrix.dtype)


def is_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon handles a parameter: a matrix of a layer, but not the router or the taps."""
    special = ("embed_tokens.weight", "gate.weight", "conv.conv.weight")
    return parameter.dim() >= 2 and not name.endswith(special)


def optimizers(model: nn.Module, settings: dict[str, Any]) -> list[torch.optim.Optimizer]:
    """Both optimizers, with their settings as the training record keeps them."""
    matrices: list[Tensor] = []
    decayed: list[Tensor] = []
    free: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if is_matrix(name, parameter):
            matrices.append(parameter)
        else:
            (decayed if parameter.dim() >= 2 else free).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": settings["weight_decay"]},
        {"params": free, "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=settings["adam_lr"], betas=(0.9, 0.95), fused=True)
    muon = Muon(matrices, settings["muon_lr"], settings["momentum"], settings["weight_decay"])
    return [muon, adam]
