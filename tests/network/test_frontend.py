"""The default front end resolves a rumble; that of the older adaptation does not."""

import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from loxo.engine.architectures import HTSATConfig
from loxo.engine.filters import mel_filters, warped_edges
from loxo.network.frontend import (
    PCEN_BIAS,
    PCEN_GAIN,
    PCEN_ROOT,
    PCEN_SCALE,
    MelFrontEnd,
    PcenFrontEnd,
    TwoResolutionFrontEnd,
    build_frontend,
)

PCEN = {"frontend": "pcen", "in_chans": 1, "n_fft": 1024, "low_bands": 0, "long_every": 1, "fmin": 8.0, "fmax": 1900.0}


def rumble_in_noise(config: HTSATConfig, seed: int, snr_db: float = 0.0) -> tuple[torch.Tensor, torch.Tensor, slice]:
    """(noise, noise + rumble, seconds of the rumble): a 15-30 Hz glide at an in-band (12-120 Hz) SNR of snr_db."""
    rng = np.random.default_rng(seed)
    rate, samples = config.sample_rate, config.window_samples
    noise = rng.normal(0, 0.01, samples)
    spectrum = np.fft.rfft(noise)
    hertz = np.fft.rfftfreq(samples, 1 / rate)
    spectrum[(hertz < 12) | (hertz > 120)] = 0
    in_band = np.fft.irfft(spectrum, samples)
    start, stop = 3 * rate, 7 * rate
    seconds = np.arange(stop - start) / rate
    pitch = 15 + 15 * np.sin(np.pi * seconds / 4)  # an arc from 15 to 30 Hz and back
    call = np.zeros(samples)
    call[start:stop] = np.sin(2 * np.pi * np.cumsum(pitch) / rate) * np.hanning(stop - start) ** 0.25
    call *= np.sqrt((in_band[start:stop] ** 2).mean() / (call[start:stop] ** 2).mean()) * 10 ** (snr_db / 20)
    without, within = (torch.tensor(x, dtype=torch.float32)[None] for x in (noise, noise + call))
    return without, within, slice(3, 7)


def contrast(config: HTSATConfig, seed: int) -> float:
    """Rise of the band with the strongest rumble, in standard deviations of that band over time without the rumble."""
    frontend = build_frontend(config)
    noise, mixed, seconds = rumble_in_noise(config, seed)
    per_second = config.sample_rate / config.hop_length
    span = slice(int((seconds.start + 0.5) * per_second), int((seconds.stop - 0.5) * per_second))
    without, within = frontend(noise)[0, 0], frontend(mixed)[0, 0]
    rise = (within - without)[span].mean(0) / (without.std(0) + 1e-6)
    return float(rise.max())


@pytest.mark.parametrize("seed", range(3))
def test_a_rumble_changes_the_default_image_and_not_the_older_one(seed):
    assert contrast(HTSATConfig.preset("default"), seed) > 1.5
    assert contrast(HTSATConfig.preset("elephants-4k"), seed) < 0.15


def test_33_filters_of_the_older_adaptation_are_empty():
    config = HTSATConfig.preset("elephants-4k")
    filters = mel_filters(config.sample_rate, config.n_fft, config.n_mels, config.fmin, config.fmax)
    assert int((filters.sum(0) == 0).sum()) == 33
    frontend = TwoResolutionFrontEnd(HTSATConfig.preset("default"))
    assert (frontend.long_filters.sum(0) > 0).all() and (frontend.short_filters.sum(0) > 0).all()


def test_bands_are_2_to_4_hz_apart_below_250_hz_and_cover_shots():
    config = HTSATConfig.preset("default")
    centres = warped_edges(config.low_bands, config.fmin, config.split_hz, 2.0, 0.4)[1:-1]
    assert centres[0] == pytest.approx(8) and centres[-1] == pytest.approx(250)
    assert np.diff(centres).min() > 1.99 and np.diff(centres).max() < 4
    shot = warped_edges(config.n_mels - config.low_bands, config.short_fmin, config.fmax, 20.0, 0.4)
    assert shot[1] == pytest.approx(80) and shot[-1] > 2000  # the last triangle extends beyond 2 kHz


@pytest.mark.parametrize("hertz", [10.0, 15.0, 22.0, 31.0, 60.0, 110.0, 200.0])
def test_two_tones_two_bands_apart_are_resolved(hertz):
    """A tone has its peak in the band with the nearest centre, and 6 dB less two bands away."""
    config = HTSATConfig.preset("default")
    frontend = TwoResolutionFrontEnd(config)
    centres = warped_edges(config.low_bands, config.fmin, config.split_hz, 2.0, 0.4)[1:-1]
    nearest = int(np.abs(centres - hertz).argmin())
    seconds = torch.arange(config.window_samples) / config.sample_rate
    level = frontend.power(torch.sin(2 * torch.pi * float(centres[nearest]) * seconds)[None])[
        0, 256, : config.low_bands
    ]
    assert int(level.argmax()) == nearest
    for other in (nearest - 2, nearest + 2):
        if 0 <= other < config.low_bands:
            assert 10 * torch.log10(level[nearest] / level[other]) > 6


@pytest.mark.parametrize("gain_db", [-30, 20])
def test_the_image_does_not_change_with_the_gain(gain_db):
    config = HTSATConfig.preset("default")
    _, mixed, _ = rumble_in_noise(config, 0)
    frontend = TwoResolutionFrontEnd(config)
    torch.testing.assert_close(frontend(mixed * 10 ** (gain_db / 20)), frontend(mixed), atol=2e-3, rtol=0)
    pcen = PcenFrontEnd(HTSATConfig.preset("default", **PCEN))
    torch.testing.assert_close(pcen(mixed * 10 ** (gain_db / 20)), pcen(mixed), atol=2e-3, rtol=0)


def test_pcen_is_its_formula():
    """The reference computes the recursion with scipy."""
    config = HTSATConfig.preset("default", **PCEN)
    _, mixed, _ = rumble_in_noise(config, 1)
    frontend = PcenFrontEnd(config)
    power = (10 ** (MelFrontEnd(config)(mixed)[0, 0].double() / 10)).numpy()  # (frames, n_mels)
    power *= PCEN_SCALE / power.mean()
    smoothing, initial = frontend.smoothing, power.mean(0)
    smoothed, _ = lfilter([smoothing], [1, smoothing - 1], power, axis=0, zi=(1 - smoothing) * initial[None])
    expected = (power / (1e-6 + smoothed) ** PCEN_GAIN + PCEN_BIAS) ** PCEN_ROOT - PCEN_BIAS**PCEN_ROOT
    torch.testing.assert_close(frontend(mixed)[0, 0].double(), torch.tensor(expected), atol=1e-3, rtol=1e-3)


def test_the_floor_is_the_quantile():
    """Noise that is loud for two fifths of a window: quantile 0.3 lies below the loud part, 0.8 within it."""
    sound = 0.001 * torch.randn(1, 81920, generator=torch.Generator().manual_seed(2))
    sound[:, : 2 * 81920 // 5] *= 100
    low, high = (
        TwoResolutionFrontEnd(HTSATConfig.preset("default", floor_quantile=quantile))(sound)[0, 0, 20:180].mean()
        for quantile in (0.3, 0.8)
    )
    assert low - high == pytest.approx(3.5, abs=0.6)  # 40 dB, the maximum of prominence, against about 0


def test_padding_does_not_change_the_image_of_the_sound_before_it():
    config = HTSATConfig.preset("default")
    noise = 0.01 * torch.randn(1, config.window_samples, generator=torch.Generator().manual_seed(1))
    padded = noise.clone()
    padded[:, config.window_samples // 2 :] = 0
    frontend = TwoResolutionFrontEnd(config)
    whole, half = frontend(noise)[0, 0, 20:220], frontend(padded)[0, 0, 20:220]
    assert (whole - half).abs().mean() < 0.1  # the floors are estimated from 64 and from 32 blocks


def test_silence_is_finite_and_empty():
    config = HTSATConfig.preset("default")
    image = TwoResolutionFrontEnd(config)(torch.zeros(2, config.window_samples))
    assert torch.isfinite(image).all() and (image[:, 0] == image[0, 0, 0, 0]).all()
    mel = MelFrontEnd(HTSATConfig.preset("elephants-4k"))(torch.zeros(1, 40000))
    assert (mel == -100).all()
