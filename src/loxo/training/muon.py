"""The optimiser: Muon for the matrices inside a network, AdamW for all else.

Muon (Jordan et al. 2024; Liu et al. 2025, arXiv 2502.16982) turns the momentum of a matrix into the nearest one whose
singular values are all about one, so that a step moves every direction alike and not only those of large gradients.
torch's own Muon takes neither convolutions nor joined matrices and computes in bfloat16 always, which a processor
without it emulates.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from loxo.network.fast.inference import bfloat16_is_fast

MOMENTUM = 0.95
ROUNDS = 5
ROUND = (3.4445, -4.7750, 2.0315)  # of x, x^3 and x^5: brings singular values from 0-1 to 0.7-1.2 in five rounds
ADAMW_RMS = 0.2  # of what AdamW adds to a weight in a step, over the learning rate (Liu et al., section 2.2)


class MuonAdamW(torch.optim.AdamW):
    """AdamW whose parameter groups with `matrices=True` are taken by Muon.

    Of these a parameter is a matrix of its first axis and all others. One of three times as many rows as columns is
    three matrices, which attention keeps as one. A step of Muon is as large as AdamW's at the same learning rate.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group.get("matrices")]
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group.get("matrices"):
                self._step_of_muon(group)
        return loss

    def _step_of_muon(self, group: dict[str, Any]) -> None:
        learnt = [parameter for parameter in group["params"] if parameter.grad is not None]
        if not learnt:
            return
        gradients = [parameter.grad for parameter in learnt]
        for parameter in learnt:
            if not self.state[parameter]:  # AdamW asks every state for its "step" when one is loaded
                self.state[parameter].update(step=torch.tensor(0.0), momentum=torch.zeros_like(parameter))
        means = [self.state[parameter]["momentum"] for parameter in learnt]
        torch._foreach_lerp_(means, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, means, MOMENTUM)  # Nesterov's
        torch._foreach_mul_(learnt, 1 - group["lr"] * group["weight_decay"])
        alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter, direction in zip(learnt, ahead, strict=True):
            for pair in zip(_matrices(parameter), _matrices(direction.contiguous()), strict=True):
                alike[pair[0].shape].append(pair)
        for (rows, columns), pairs in alike.items():
            turned = orthogonalised(torch.stack([direction for _, direction in pairs]))
            size = group["lr"] * ADAMW_RMS * math.sqrt(max(rows, columns))
            for (weights, _), direction in zip(pairs, turned, strict=True):
                weights.sub_(direction, alpha=size)


def _matrices(tensor: Tensor) -> tuple[Tensor, ...]:
    """Views of a parameter as one matrix, or as three."""
    matrix = tensor.view(len(tensor), -1)
    return matrix.chunk(3) if matrix.shape[0] == 3 * matrix.shape[1] else (matrix,)


def orthogonalised(matrices: Tensor) -> Tensor:
    """(count, rows, columns) -> the same with all singular values near one, by Newton-Schulz rounds.

    In bfloat16 where the device multiplies it in hardware: the rounds need no more.
    """
    wide = matrices.shape[1] <= matrices.shape[2]
    half = matrices.is_cuda or (matrices.device.type == "cpu" and bfloat16_is_fast())
    x = (matrices if wide else matrices.mT).to(torch.bfloat16 if half else torch.float32)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    a, b, c = ROUND
    for _ in range(ROUNDS):
        square = x @ x.mT
        square = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, square, x, beta=a)
    return (x if wide else x.mT).to(matrices.dtype)
