"""The layouts of exported networks give the results of the plain network, whatever its sizes."""

import copy

import pytest
import torch

from loxo.network.fast import export
from loxo.network.registry import build

SMALL = {"embed_dim": 8, "num_heads": (1, 2), "merges": ((4, 1),)}
VARIANTS = {
    "default": {**SMALL, "depths": (2, 3)},
    "without a fine head": {
        **SMALL,
        "depths": (1, 2),
        "fine": 0,
        "fine_depth": 0,
        "call_overlap": False,
        "substeps": 1,
    },
    "merged in time too": {"preset": "elephants-4k", **SMALL, "depths": (2, 2), "merges": ((8, 8),)},
    "folded": {
        "preset": "audioset",
        "embed_dim": 8,
        "depths": (2, 2, 1, 1),
        "num_heads": (1, 1, 2, 2),
        "classes": ("a",),
    },
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_layouts_change_no_result(name):
    torch.manual_seed(1)
    options = dict(VARIANTS[name])
    plain = build(options.pop("preset", "default"), **options).eval()
    for parameter in plain.parameters():  # some begin as zeros, which would hide a wrong order
        torch.nn.init.normal_(parameter, std=0.2)
    exported = copy.deepcopy(plain)
    export.apply(exported)
    export.apply(exported)
    bands = plain.bands(0.1 * torch.randn(2, plain.config.window_samples))
    with torch.no_grad():
        for ours, theirs in zip(exported.network(bands), plain.network(bands), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert exported.state_dict().keys() == plain.state_dict().keys()
