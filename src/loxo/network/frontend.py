"""The front ends: waveform to image.

`MelFrontEnd` is that of the paper: 64 Slaney mel bands in decibels. `HtkMelFrontEnd` has the bands of CLAP's fusion
towers instead. `PcenFrontEnd` has the paper's bands with per-channel energy normalisation instead of decibels.
`KaldiFrontEnd` is the one that published AST weights expect. `TwoResolutionFrontEnd` is made for elephants: a long
window resolves the 8-250 Hz of a rumble at 2-4 Hz, and a short window keeps the onset of a gunshot. All return float32
(batch, channels, frames, bands). Frame t is centred on sample t x hop_length; in `KaldiFrontEnd` it begins there.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from loxo.engine.config import ModelConfig
from loxo.engine.filters import (
    FLOOR_BLOCK,
    PROMINENCE_CENTRE_DB,
    PROMINENCE_DB,
    PROMINENCE_UNIT_DB,
    SHAPE_CENTRE_DB,
    SHAPE_DB,
    SHAPE_UNIT_DB,
    SILENCE_RATIO,
    TINY_POWER,
    TwoResolution,
    htk_mel_filters,
    mel_filters,
    triangles,
)

MEL_FLOOR = 1e-10  # power below which the mel front end is constant: -100 dB, as in the official model

# Per-channel energy normalisation, with the values for outdoor bioacoustics (Lostanlen et al. 2019) except the time
# constant: 60 ms there. With it, a rumble of several seconds would become its own background.
PCEN_S, PCEN_GAIN, PCEN_BIAS, PCEN_ROOT = 10.0, 0.8, 10.0, 0.25
PCEN_SCALE = 1e6  # mean power of the window after scaling: the bias then has its effect on 16-bit samples, at any gain

KALDI_FLOOR = 1.1920928955078125e-07  # float32's epsilon
KALDI_PREEMPHASIS = 0.97
AUDIOSET_MEAN, AUDIOSET_STD = -4.2677393, 4.5689974  # of log bands over AudioSet; AST divides by twice the STD


class FrontEnd(nn.Module):
    """(batch, samples) -> (batch, channels, frames, n_mels)"""

    frames: int  # number of frames in a window

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()

    def spectrum(self, waveform: Tensor, window: str, hop: int, *, center: bool) -> Tensor:
        """power_spectrum with the buffer `window`. Exported graphs compute it as a convolution (loxo.network.whole)."""
        return power_spectrum(waveform, getattr(self, window), hop, center=center)


def build_frontend(config: ModelConfig) -> FrontEnd:
    return FRONTENDS[config.frontend](config)


def power_spectrum(waveform: Tensor, window: Tensor, hop: int, *, center: bool) -> Tensor:
    """(batch, samples) -> (batch, frames, n_fft / 2 + 1) squared magnitudes."""
    spectrum = torch.stft(
        waveform, len(window), hop, window=window, center=center, pad_mode="reflect", return_complex=True
    )
    return (spectrum.real.square() + spectrum.imag.square()).transpose(1, 2)


# ---------------------------------------------------------------- front ends


class MelFrontEnd(FrontEnd):
    """The front end of the paper: power STFT, Slaney mel bands, decibels with a floor of -100 dB."""

    window: Tensor
    filters: Tensor
    filter_bank = staticmethod(mel_filters)

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.hop = config.hop_length
        self.frames = config.window_samples // config.hop_length + 1
        filters = self.filter_bank(config.sample_rate, config.n_fft, config.n_mels, config.fmin, config.fmax)
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        self.register_buffer("filters", torch.from_numpy(filters), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> (batch, 1, samples // hop + 1, n_mels) decibels."""
        with torch.autocast(waveform.device.type, enabled=False):
            return 10.0 * torch.log10(self.mel_power(waveform).clamp_min(MEL_FLOOR)).unsqueeze(1)

    def mel_power(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> (batch, samples // hop + 1, n_mels)"""
        return self.spectrum(waveform.float(), "window", self.hop, center=True) @ self.filters


class HtkMelFrontEnd(MelFrontEnd):
    """Mel bands of HTK's scale, not divided by the area of their filters, in decibels."""

    filter_bank = staticmethod(htk_mel_filters)


class PcenFrontEnd(MelFrontEnd):
    """Mel bands after per-channel energy normalisation (Wang et al. 2017, arXiv 1607.05666).

    (E / (eps + M)^gain + bias)^root - bias^root, where M is the power E of each band after a first-order low-pass with
    the time constant PCEN_S. The window is first scaled to a fixed mean power, so that its gain has no effect.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        frames = PCEN_S * config.sample_rate / config.hop_length
        self.smoothing = (math.sqrt(1 + 4 * frames**2) - 1) / (2 * frames**2)  # Lostanlen et al. 2019

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> (batch, 1, samples // hop + 1, n_mels)"""
        with torch.autocast(waveform.device.type, enabled=False):
            power = self.mel_power(waveform)
            power = power * (PCEN_SCALE / power.mean((1, 2), keepdim=True).clamp_min(TINY_POWER))
            relative = power / (1e-6 + self.smoothed(power)) ** PCEN_GAIN
            return ((relative + PCEN_BIAS) ** PCEN_ROOT - PCEN_BIAS**PCEN_ROOT).unsqueeze(1)

    def smoothed(self, power: Tensor) -> Tensor:
        """(batch, frames, bands) -> the same shape, after the low-pass. It begins with the mean of the window."""
        smoothed = torch.empty_like(power)
        mean = power.mean(1)
        for frame in range(power.shape[1]):
            mean = torch.lerp(mean, power[:, frame], self.smoothing)
            smoothed[:, frame] = mean
        return smoothed


class KaldiFrontEnd(FrontEnd):
    """The input of published AST: log filter banks as in Kaldi, normalised with AudioSet's mean and standard deviation.

    Only complete frames are used. Frames that are missing up to `image_frames` have log energies of 0, as in AST.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.frames, self.hop, self.length = config.image_frames, config.hop_length, config.n_fft
        self.fft = 2 ** math.ceil(math.log2(config.n_fft))
        mel = 1127.0 * np.log1p(np.linspace(0.0, config.sample_rate / 2, self.fft // 2 + 1) / 700.0)
        low, high = (1127.0 * math.log1p(hertz / 700.0) for hertz in (config.fmin, config.fmax))
        filters = triangles(np.linspace(low, high, config.n_mels + 2), mel)  # triangles over mel, not over hertz
        self.register_buffer("window", torch.hann_window(config.n_fft, periodic=False), persistent=False)
        self.register_buffer("filters", torch.tensor(filters, dtype=torch.float32), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, window_samples) -> (batch, 1, image_frames, n_mels)"""
        with torch.autocast(waveform.device.type, enabled=False):
            pieces = waveform.float().unfold(1, self.length, self.hop)  # (batch, frames, n_fft)
            pieces = pieces - pieces.mean(2, keepdim=True)
            before = torch.cat((pieces[..., :1], pieces[..., :-1]), dim=2)
            power = self.piece_power(pieces - KALDI_PREEMPHASIS * before)
            bands = (power @ self.filters).clamp_min(KALDI_FLOOR).log()
            bands = F.pad(bands, (0, 0, 0, max(0, self.frames - bands.shape[1])))[:, : self.frames]
            return ((bands - AUDIOSET_MEAN) / (2 * AUDIOSET_STD)).unsqueeze(1)

    def piece_power(self, pieces: Tensor) -> Tensor:
        """(batch, frames, n_fft) -> (batch, frames, fft / 2 + 1)"""
        spectrum = torch.fft.rfft(pieces * self.window, n=self.fft)
        return spectrum.real.square() + spectrum.imag.square()


class TwoResolutionFrontEnd(FrontEnd):
    """Bands from two window lengths, independent of a recorder's gain and frequency response.

    The first `low_bands` bands cover fmin-split_hz with a window of n_fft samples (1.02 s in the default: 1 Hz bins,
    bands 2 Hz apart that widen to 4 Hz). They are computed after decimation, where the same resolution costs a quarter.
    `long_every` frames share one such window and its centre. The other bands cover short_fmin-fmax with a window of
    short_n_fft samples (64 ms).

    Channel 0 is the prominence of each band over its floor, a low quantile of its level in the window. It removes
    steady hum and the slope of the background, and calls remain. Channel 1 keeps the shape of the spectrum, which
    channel 0 removes: the level relative to the mean floor of all bands. Neither channel changes with the gain. Digital
    silence is excluded from the floor, and has the lowest value of both channels.
    """

    long_window: Tensor
    short_window: Tensor
    long_filters: Tensor
    short_filters: Tensor
    taps: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        geometry = TwoResolution.of(config)
        self.frames, self.hop, self.every = config.image_frames, geometry.hop, geometry.every
        self.floor_quantile = config.floor_quantile
        self.factor, self.long_hop, self.long_context = geometry.factor, geometry.long_hop, geometry.long_context
        self.long_scale, self.short_scale = geometry.long_scale, geometry.short_scale
        for name in ("long_window", "short_window", "long_filters", "short_filters", "taps"):
            self.register_buffer(name, torch.from_numpy(getattr(geometry, name)), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """(batch, window_samples) -> (batch, 2, image_frames, n_mels), both channels of order 1."""
        return self.image(self.power(waveform)[:, : self.frames])

    def image(self, power: Tensor) -> Tensor:
        """(batch, image_frames, n_mels) -> (batch, 2, image_frames, n_mels)"""
        with torch.autocast(power.device.type, enabled=False):
            return normalise(power, self.floor_quantile)

    def power(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> (batch, samples // hop_length, n_mels) mean power density in each band.

        The input may be longer than a window, so that detection computes the spectra of overlapping windows once.
        """
        with torch.autocast(waveform.device.type, enabled=False):
            frames = waveform.shape[1] // self.hop
            waveform = waveform.float()
            long, short = self.long_spectra(waveform), self.short_spectra(waveform)
            return torch.cat((long.repeat_interleave(self.every, dim=1)[:, :frames], short[:, :frames]), dim=2)

    def long_spectra(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> (batch, frames, low_bands), one frame per `every` hops"""
        padded = F.pad(waveform[:, None], self.long_context, mode="reflect")
        slow = F.conv1d(padded, self.taps[None, None], stride=self.factor)[:, 0]
        power = self.spectrum(slow, "long_window", self.long_hop, center=False)
        # The scales differ by `factor`: white noise of unit variance then has the same value in both resolutions.
        return power @ self.long_filters / self.long_scale

    def short_spectra(self, waveform: Tensor) -> Tensor:
        """(batch, samples) -> (batch, samples // hop_length + 1, n_mels - low_bands)"""
        power = self.spectrum(waveform, "short_window", self.hop, center=True)
        return power @ self.short_filters / self.short_scale


# By the config field `frontend`. A new front end is one class, one line here and one in engine/config.py.
FRONTENDS: dict[str, type[FrontEnd]] = {
    "mel": MelFrontEnd,
    "mel-htk": HtkMelFrontEnd,
    "pcen": PcenFrontEnd,
    "kaldi": KaldiFrontEnd,
    "two-resolution": TwoResolutionFrontEnd,
}


def normalise(power: Tensor, quantile: float) -> Tensor:
    """Power (batch, frames, bands) -> prominence and shape (batch, 2, frames, bands), independent of gain, of order 1.

    `quantile`: that of a band's level in the window which is its floor.
    """
    batch, frames, bands = power.shape
    blocks = power.reshape(batch, frames // FLOOR_BLOCK, FLOOR_BLOCK, bands).mean(2)
    loudness = blocks.mean(2)  # (batch, blocks)
    silent = loudness <= SILENCE_RATIO * loudness.amax(1, keepdim=True) + TINY_POWER
    level = 10.0 * torch.log10(blocks + TINY_POWER)
    ordered = level.masked_fill(silent[:, :, None], torch.inf).sort(dim=1).values
    not_silent = (~silent).sum(1)  # (batch,)
    rank = ((not_silent - 1).clamp_min(0) * quantile).long()
    floor = ordered.gather(1, rank[:, None, None].expand(batch, 1, bands))  # (batch, 1, bands)
    floor = torch.where((not_silent > 0)[:, None, None], floor, 0.0)
    decibels = 10.0 * torch.log10(power + TINY_POWER)
    prominence = (decibels - floor).clamp(*PROMINENCE_DB)
    shape = (decibels - floor.mean(2, keepdim=True)).clamp(*SHAPE_DB)
    channels = (prominence - PROMINENCE_CENTRE_DB) / PROMINENCE_UNIT_DB, (shape - SHAPE_CENTRE_DB) / SHAPE_UNIT_DB
    return torch.stack(channels, dim=1)
