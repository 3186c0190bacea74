"""HTS-AT against the official model's reference outputs, at tiny size with random weights.

As a script it prints the table in docs/model.md: `python tests/network/test_parity.py ../shared/golden`.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from loxo import HTSAT, HTSATConfig
from loxo.engine.config import LABELS
from loxo.network.base import mean_over_bins
from loxo.network.foreign.checkpoints import load_weights

TINY = {"embed_dim": 16, "depths": (1, 1, 2, 1), "num_heads": (2, 2, 4, 4), "classes": LABELS}
TOLERANCE = 2e-5
Comparison = tuple[str, torch.Tensor, torch.Tensor, float]  # what, ours, reference, tolerance


def tiny_model(golden: Path, preset: str) -> HTSAT:
    """A model with the golden weights. The official constants and unused clip head do not exist in it."""
    model = HTSAT(HTSATConfig.preset(preset, **TINY))
    missing, unused = model.load_state_dict(load_file(golden / "state_tiny_32k.safetensors"), strict=False)
    assert not missing
    assert all(n.startswith(("head.", "logmel_extractor.")) or "relative_position_index" in n for n in unused)
    return model.eval()


def wave(golden: Path, case: str, samples: int | None = None) -> torch.Tensor:
    return load_file(golden / f"{case}.safetensors")["wave_i16"][:, :samples].float() / 32768


def outputs(
    ours: dict[str, torch.Tensor], reference: dict[str, torch.Tensor], prefix: str = ""
) -> Iterator[Comparison]:
    """The official model has the axes (frames, classes), the older adaptation (classes, frames)."""
    frames = reference[f"{prefix}framewise_output"]
    frames = frames.transpose(1, 2) if frames.shape[1] == 1024 else frames
    yield "framewise_output", ours["framewise_output"], frames, TOLERANCE
    for name in ("clipwise_output", "latent_output"):
        if prefix + name in reference:
            yield name, ours[name], reference[prefix + name], TOLERANCE


# ---------------------------------------------------------------- one window: `model(waveform)` is the official forward


def ten_seconds(golden: Path, preset: str, case: str) -> Iterator[Comparison]:
    reference = load_file(golden / f"{case}.safetensors")
    model, waveform = tiny_model(golden, preset), wave(golden, case)
    output = model(waveform)
    yield from outputs(output, reference)
    yield "token-semantic logits", output["framewise_logits"], reference["act.tscam_logits"].squeeze(2), TOLERANCE
    image = reference["act.image"]
    yield "image", model.fold(model.bands(waveform))[: len(image)], image, TOLERANCE


def activations(golden: Path) -> Iterator[Comparison]:
    reference = load_file(golden / "official_32k_10s.safetensors")
    model, waveform = tiny_model(golden, "audioset"), wave(golden, "official_32k_10s")
    # Decibels. Error against float64: 1e-4 for the official STFT, a float32 convolution, and 4e-5 for this FFT.
    yield "log-mel, dB", model.frontend(waveform), reference["act.logmel"], 2e-4
    tokens = model.patch_embed(model.fold(model.bands(waveform)))
    yield "patches", tokens.flatten(1, 2)[:, :512], reference["act.patch_embed"], TOLERANCE
    for k, layer in enumerate(model.layers):
        tokens = layer(tokens)
        yield f"stage {k}", tokens.flatten(1, 2), reference[f"act.layer{k}"], TOLERANCE
    yield "last norm", model.norm(tokens).flatten(1, 2), reference["act.norm"], TOLERANCE


def adaptation(golden: Path) -> Iterator[Comparison]:
    reference = load_file(golden / "adaptation_4k_10s.safetensors")
    model, waveform = tiny_model(golden, "elephants-4k"), wave(golden, "official_4k_10s")
    output = model(waveform)
    yield from outputs(output, reference)
    # The ten bins of the adaptation have 102 frames each and exclude two frames at each end. Here bins cover all.
    yield "infer, 10 bins of 102.4 frames", model.infer(waveform), reference["infer"], 2e-2
    without = mean_over_bins(output["framewise_output"][:, :, 2:-2], 10)
    yield "infer, 10 bins of 102 frames", without, reference["infer"], TOLERANCE


def swin(golden: Path) -> Iterator[Comparison]:
    model = tiny_model(golden, "elephants-4k")
    load_weights(model, golden / "swin_tiny_fake.pth")
    reference = load_file(golden / "swin_loaded_4k_10s.safetensors")
    yield from outputs(model(wave(golden, "official_4k_10s")), reference)


# ---------------------------------------------------------------- other lengths
# The official code resizes, tiles or crops each input to 1024 frames. Loxo keeps the time axis (test_lengths.py).
# These tests therefore combine the public methods of the model as the official code does.


def resized(
    golden: Path, preset: str, waves: str, case: str, prefix: str = "", copies: int = 1
) -> Iterator[Comparison]:
    model = tiny_model(golden, preset)
    bands = model.bands(wave(golden, waves)).repeat(1, 1, 1, copies)
    yield from outputs(model.outputs(*model.network(bands)), load_file(golden / f"{case}.safetensors"), prefix)


def cropped(golden: Path, preset: str, waves: str, case: str, samples: int, crops: int) -> Iterator[Comparison]:
    """Crops of half the length, a quarter apart, each resized; their outputs are averaged."""
    model = tiny_model(golden, preset)
    bands = model.bands(wave(golden, waves, samples))
    frames = bands.shape[3]
    starts = range(0, frames - (frames - 1) // 2 - 1, (frames - 1) // 4)
    assert len(starts) == crops
    outputs_of_crops = [model.outputs(*model.network(bands[..., s : s + (frames - 1) // 2])) for s in starts]
    mean = {name: torch.stack([part[name] for part in outputs_of_crops]).mean(0) for name in outputs_of_crops[0]}
    yield from outputs(mean, load_file(golden / f"{case}.safetensors"))


T1201 = "official_32k_long_T1201"
CASES: dict[str, Callable[[Path], Iterator[Comparison]]] = {
    "official, 32 kHz, 10 s": lambda golden: ten_seconds(golden, "audioset", "official_32k_10s"),
    "official, 32 kHz, 10 s, inside": activations,
    "official, 4 kHz, 10 s": lambda golden: ten_seconds(golden, "elephants-4k", "official_4k_10s"),
    "adaptation, 4 kHz, 10 s": adaptation,
    "Swin weights, 4 kHz, 10 s": swin,
    "official, 3 s, resized": lambda golden: resized(golden, "audioset", *["official_32k_3s_short"] * 2, "normal."),
    "official, 3 s, tiled": lambda golden: resized(
        golden, "audioset", *["official_32k_3s_short"] * 2, "infer_mode.", 3
    ),
    "official, 4 kHz, tiled": lambda golden: resized(
        golden, "elephants-4k", "official_4k_10s", "official_4k_10s_infer_mode", copies=8
    ),
    "adaptation, 20 s, resized": lambda golden: resized(golden, "elephants-4k", *["adaptation_4k_20s"] * 2),
    "official, 12 s, crops": lambda golden: cropped(golden, "audioset", T1201, T1201, 384000, 2),
    "official, 11 s, crops": lambda golden: cropped(golden, "audioset", T1201, "official_32k_long_T1103", 352640, 3),
    "adaptation, 82 s, crops": lambda golden: cropped(
        golden, "elephants-4k", *["adaptation_4k_82s_long"] * 2, 328000, 3
    ),
}


@pytest.mark.parametrize("case", CASES)
@torch.no_grad()
def test_parity(golden, case):
    for what, ours, reference, tolerance in CASES[case](golden):
        assert ours.shape == reference.shape, what
        assert (ours - reference).abs().max() < tolerance, what


@torch.no_grad()
def print_table(golden: Path) -> None:
    """One row per case and tolerance, with the largest deviation."""
    print("| case | compared | largest deviation | tolerance |\n|---|---|---|---|")
    for case, compare in CASES.items():
        rows: dict[float, list[tuple[str, float]]] = {}
        for what, ours, reference, tolerance in compare(golden):
            rows.setdefault(tolerance, []).append((what, (ours - reference).abs().max().item()))
        for tolerance, row in rows.items():
            names = ", ".join(what for what, _ in row)
            print(f"| {case} | {names} | {max(far for _, far in row):.1e} | {tolerance:.0e} |")


if __name__ == "__main__":
    print_table(Path(sys.argv[1]))
