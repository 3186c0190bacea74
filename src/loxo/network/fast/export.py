"""Layouts of a network for export, where the runtimes of graphs are slow with those of the definition.

- Rolling a grid, cutting it into windows, and the way back are several copies of all tokens in each block. Here the
  tokens of a stage are one list, and one selection brings them from the windows of one block into those of the next, or
  into the order of the patch merging.
- The layers around the attention read tokens as (B, R C, D), which OpenVINO fuses and windows (B, W, N, D) it does not.
- The first convolution of the fine head, over 512 channels, is one matrix product whose results are shifted and added.

The results are those of the plain network. Only exported graphs use these layouts; PyTorch is not faster with them.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from loxo.network.fast.inference import exchange_class
from loxo.network.htsat import HTSAT, FineHead
from loxo.network.swin import PatchMerging, SwinBlock, SwinStage, to_windows


def apply(model: nn.Module) -> None:
    """Attaches the layouts to all modules of HTS-AT in the model. A second call changes nothing."""
    for module in model.modules():
        exchange_class(module, {HTSAT: ExportedHTSAT})
        if type(module) is FineHead:
            module.register_buffer("border", torch.zeros(1, module.look.out_channels, 1), persistent=False)
            module.__class__ = ProductFineHead
        if type(module) is SwinStage:
            for k, selection in enumerate(selections(module)):
                module.register_buffer(f"selection_{k}", selection, persistent=False)
            module.__class__ = SelectingStage


class ExportedHTSAT(HTSAT):
    def unfold(self, tokens: Tensor) -> Tensor:
        """(batch, R, C, features) -> (batch, features, R / folds, steps)"""
        if self.config.folds != 1:
            return super().unfold(tokens)
        return tokens.flatten(1, 2).transpose(1, 2).unflatten(2, tokens.shape[1:3])


class ProductFineHead(FineHead):
    border: Tensor  # (1, fine, 1) zeros: the padding of the convolution

    def project(self, stem_features: Tensor) -> Tensor:
        """(batch, channels, rows, steps) -> (batch, fine, steps)"""
        columns = stem_features.flatten(1, 2)  # (batch, inputs, steps)
        products = self.look.weight.permute(2, 0, 1).flatten(0, 1) @ columns  # (batch, 3 fine, steps)
        before, middle, after = products.chunk(3, 1)
        border = self.border.expand(len(products), -1, -1)
        shifted = torch.cat((border, before[..., :-1]), 2) + torch.cat((after[..., 1:], border), 2)
        assert self.look.bias is not None
        return middle + shifted + self.look.bias[:, None]


class SelectingStage(SwinStage):
    """A stage with a selection before each block and one after the last; a selection is None if no token moves."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, R, C, D) -> (B, R, C, D), or (B, R / rows, C / columns, 2 D) with a patch merging"""
        b, r, c, d = x.shape
        tokens = x.reshape(b, r * c, d)
        for k, block in enumerate(self.blocks):
            assert isinstance(block, SwinBlock)
            tokens = self.select(tokens, k)
            windows = block.norm1(tokens).view(b, -1, block.window[0] * block.window[1], d)
            tokens = tokens + block.attn(windows, block.attn_mask).reshape(b, r * c, d)
            tokens = tokens + block.mlp(block.norm2(tokens))
        tokens = self.select(tokens, len(self.blocks))
        merging = self.downsample
        if not isinstance(merging, PatchMerging):
            return tokens.view(b, r, c, d)
        rows, columns = merging.merge
        joined = merging.norm(tokens.view(b, -1, rows * columns * d))
        return torch.as_tensor(merging.reduction(joined).view(b, r // rows, c // columns, -1))

    def select(self, tokens: Tensor, k: int) -> Tensor:
        """(B, R C, D) -> (B, R C, D) in the order that is needed next"""
        selection = getattr(self, f"selection_{k}")
        return tokens if selection is None else tokens.index_select(1, selection)


def selections(stage: SwinStage) -> list[Tensor | None]:
    """For each block and the end of the stage: which of the tokens (R C,), as they lie before, comes to each place."""
    r, c = next(block.size for block in stage.blocks if isinstance(block, SwinBlock))
    grid = torch.arange(r * c).view(r, c)
    orders = [grid.flatten(), *(_window_order(grid, block) for block in stage.blocks if isinstance(block, SwinBlock))]
    merging = stage.downsample
    if isinstance(merging, PatchMerging):
        rows, columns = merging.merge
        orders.append(grid.view(r // rows, rows, c // columns, columns).permute(0, 2, 3, 1).flatten())
    else:
        orders.append(grid.flatten())
    pairs = itertools.pairwise(orders)
    return [None if torch.equal(before, after) else before.argsort()[after] for before, after in pairs]


def _window_order(grid: Tensor, block: SwinBlock) -> Tensor:
    """Numbers of the tokens (R, C) -> the same (R C,) in the order of a block's windows, shifted as the block does."""
    rolled = grid.roll((-block.shift[0], -block.shift[1]), (0, 1))
    return to_windows(rolled[None, :, :, None], block.window).flatten()
