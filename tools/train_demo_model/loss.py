"""Cross-entropy through the tied head without ever holding all logits.

A slice of rows at a time stays in the cache: its logits, their softmax and the gradients are
made in one go, in the forward pass.
"""

from typing import Any, cast

import torch
from torch import Tensor

_ROWS = 256


def head_loss(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """Mean loss of `hidden` [N, H] through the head `weight` [V, H] against `targets` [N]."""
    loss = _HeadLoss.apply(hidden, weight, targets)
    return cast(Tensor, loss)


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        matrix = weight.to(hidden.dtype)
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight)
        total = 0.0
        for start in range(0, len(targets), _ROWS):
            part = slice(start, start + _ROWS)
            chosen = (torch.arange(len(targets[part])), targets[part])
            logits = (hidden[part] @ matrix.T).float()
            logits -= logits.amax(1, keepdim=True)
            picked = logits[chosen]
            chances = logits.exp_()
            sums = chances.sum(1, keepdim=True)
            total += float(sums.log().sum() - picked.sum())
            chances /= sums * len(targets)
            chances[chosen] -= 1 / len(targets)
            gradient = chances.to(hidden.dtype)
            torch.mm(gradient, matrix, out=grad_hidden[part])
            grad_weight += gradient.T @ hidden[part]
        ctx.save_for_backward(grad_hidden, grad_weight)
        return torch.tensor(total / len(targets))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        (scale,) = gradients
        return grad_hidden * scale, grad_weight * scale, None
