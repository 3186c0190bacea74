"""The optimiser: Muon for the hidden weight matrices of a network, AdamW for all other parameters.

Muon (Jordan et al. 2024; Liu et al. 2025, arXiv 2502.16982) replaces the momentum of a matrix by the nearest matrix
with singular values of about one. An update then changes all directions equally, not only those with large gradients.
PyTorch's own Muon supports neither convolutions nor a joint query-key-value matrix. It also always computes in
bfloat16, which is slow on a CPU without bfloat16 instructions.
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
NEWTON_SCHULZ_ITERATIONS = 5
# Coefficients of x, x^3 and x^5: five iterations bring singular values from 0-1 to 0.7-1.2.
NEWTON_SCHULZ_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ADAMW_RMS = 0.2  # root mean square of an AdamW update, divided by the learning rate (Liu et al., section 2.2)


class MuonAdamW(torch.optim.AdamW):
    """AdamW, except for parameter groups with `matrices=True`, which use Muon.

    Muon treats a parameter as a matrix of its first axis and all other axes. A matrix with three times as many rows as
    columns is treated as three matrices: attention stores query, key and value weights in one. At the same learning
    rate, an update of Muon is as large as one of AdamW.
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
                self._muon_update(group)
        return loss

    def _muon_update(self, group: dict[str, Any]) -> None:
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        if not parameters:
            return
        gradients = [parameter.grad for parameter in parameters]
        for parameter in parameters:
            if not self.state[parameter]:  # AdamW requires a "step" in every state that is loaded
                self.state[parameter].update(step=torch.tensor(0.0), momentum=torch.zeros_like(parameter))
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        nesterov = torch._foreach_lerp(gradients, momenta, MOMENTUM)
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter, direction in zip(parameters, nesterov, strict=True):
            for pair in zip(_matrices(parameter), _matrices(direction.contiguous()), strict=True):
                by_shape[pair[0].shape].append(pair)
        for (rows, columns), pairs in by_shape.items():
            directions = orthogonalise(torch.stack([direction for _, direction in pairs]))
            size = group["lr"] * ADAMW_RMS * math.sqrt(max(rows, columns))
            for (matrix, _), direction in zip(pairs, directions, strict=True):
                matrix.sub_(direction, alpha=size)


def _matrices(tensor: Tensor) -> tuple[Tensor, ...]:
    """Views of a parameter as one matrix, or as three (see MuonAdamW)."""
    matrix = tensor.view(len(tensor), -1)
    return matrix.chunk(3) if matrix.shape[0] == 3 * matrix.shape[1] else (matrix,)


def orthogonalise(matrices: Tensor) -> Tensor:
    """(count, rows, columns) -> matrices with all singular values near one, by Newton-Schulz iterations.

    Computed in bfloat16 where the device multiplies it in hardware. This precision is sufficient for the iterations.
    """
    wide = matrices.shape[1] <= matrices.shape[2]
    use_bfloat16 = matrices.is_cuda or (matrices.device.type == "cpu" and bfloat16_is_fast())
    x = (matrices if wide else matrices.mT).to(torch.bfloat16 if use_bfloat16 else torch.float32)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp_min(1e-7)
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    for _ in range(NEWTON_SCHULZ_ITERATIONS):
        square = x @ x.mT
        square = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, square, x, beta=a)
    return (x if wide else x.mT).to(matrices.dtype)
