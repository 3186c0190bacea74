"""Scenes and training windows: stored SNRs equal measured SNRs, events cover the calls, samples are in [-1, 1]."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from loxo.simulation.gunshot import draw_gunshot, synthesise_gunshot
from loxo.simulation.mixing import GUNSHOT_BAND_HZ, LINE_HALF_WIDTH_HZ, RUMBLE_BAND_HZ, Event, add_call, events_table
from loxo.simulation.recorder import Recorder, draw_recorder
from loxo.simulation.rumble import draw_rumble, synthesise_rumble
from loxo.simulation.sounds import Call, coloured_noise, power_envelope
from loxo.simulation.soundscape import Gunfire, compose, training_window

RATE = 4000
WINDOW = 81920


def background_noise(seed: int = 0) -> NDArray[np.float32]:
    return coloured_noise(np.random.default_rng(seed), WINDOW, RATE, [5, 40, 2000], [5, 0, -25])


def band(samples: NDArray[np.floating], low: float, high: float) -> NDArray[np.float64]:
    """An independent band-pass filter: all other bins in the spectrum of the whole window are set to zero."""
    spectrum = np.fft.rfft(samples)
    f = np.fft.rfftfreq(len(samples), 1 / RATE)
    spectrum[(f < low) | (f > high)] = 0
    return np.fft.irfft(spectrum, len(samples))


def noise_and_call(seed: int, **calls: int) -> tuple[NDArray[np.float64], NDArray[np.float64], list[Event]]:
    """(background, calls, events) of a scene as stored. A second scene without calls gives the background."""
    recorder = Recorder(highpass_hz=25.0, tilt_db=1.0, level_db=-55.0)  # no clipping at this level
    make = {
        "samples": WINDOW,
        "sample_rate": RATE,
        "background": background_noise(),
        "negatives": 1,
        "recorder": recorder,
    }
    alone = compose(np.random.default_rng(seed), **make)  # type: ignore[arg-type]
    scene = compose(np.random.default_rng(seed), **make, **calls)  # type: ignore[arg-type]
    noise, mix = alone.samples.astype(np.float64), scene.samples.astype(np.float64)
    # The scene with calls is louder, so its gain is lower. The samples far from all events give the ratio of the gains.
    quiet = np.ones(WINDOW, bool)
    for event in scene.events:
        quiet[max(event.start - 2 * RATE, 0) : event.end + 3 * RATE] = False
    noise = noise * (np.sum(mix[quiet] * noise[quiet]) / np.sum(noise[quiet] ** 2))
    return noise, mix - noise, scene.events


@pytest.mark.parametrize("seed", range(8))
def test_the_stored_snr_of_a_rumble_equals_the_measured_snr(seed: int) -> None:
    noise, call, events = noise_and_call(seed, rumbles=1)
    for event in events:
        span = slice(event.start, event.end)
        signal_power, noise_power = (np.mean(band(x, *RUMBLE_BAND_HZ)[span] ** 2) for x in (call, noise))
        assert 10 * np.log10(signal_power / noise_power) == pytest.approx(event.snr_db, abs=1.0)


def test_the_stored_snr_of_a_gunshot_equals_the_measured_snr() -> None:
    scenes = [noise_and_call(seed, shots=1) for seed in range(10)]
    single = [(noise, call, events[0]) for noise, call, events in scenes if len(events) == 1]  # without series of shots
    assert len(single) >= 6
    for noise, call, event in single:
        span = slice(event.start, event.end)
        peak = np.convolve(band(call, *GUNSHOT_BAND_HZ)[span] ** 2, np.ones(200) / 200, "same").max()
        noise_power = np.mean(band(noise, *GUNSHOT_BAND_HZ)[span] ** 2)
        assert 10 * np.log10(peak / noise_power) == pytest.approx(event.snr_db, abs=1.5)


def test_a_call_is_scaled_by_its_line_snr_and_raised_to_the_minimum() -> None:
    rng = np.random.default_rng(0)
    background = background_noise()
    for wanted in (6.0, -30.0):
        call = synthesise_rumble(draw_rumble(rng), RATE, rng)
        mix = background.copy()
        event = add_call(mix, background, call, 20000, wanted, RATE, Recorder(), use_line_snr=True)
        assert event is not None
        span = slice(20000 + call.core[0], 20000 + call.core[1])
        low, high = call.line_hz - LINE_HALF_WIDTH_HZ, call.line_hz + LINE_HALF_WIDTH_HZ
        signal_power, noise_power = (np.mean(band(x, low, high)[span] ** 2) for x in (mix - background, background))
        assert 10 * np.log10(signal_power / noise_power) == pytest.approx(event.line_snr_db, abs=1.0)
        if wanted > 0:
            assert event.line_snr_db == pytest.approx(wanted)
        else:  # raised to a level at which the call is visible
            assert max(event.line_snr_db, event.snr_db) > 0


def test_calls_outside_the_mix_or_in_silence_are_not_added() -> None:
    rng = np.random.default_rng(1)
    call = synthesise_rumble(draw_rumble(rng), RATE, rng)
    mix = background_noise()
    before = mix.tobytes()
    assert add_call(mix, background_noise(), call, WINDOW + 10, 10, RATE, Recorder()) is None
    assert add_call(mix, np.zeros(WINDOW, np.float32), call, 100, 10, RATE, Recorder()) is None
    assert (
        add_call(mix, background_noise(), Call(call.samples, None, "wind", 1, 2, call.core), 100, 10, RATE, Recorder())
        is None
    )
    assert mix.tobytes() == before


def test_events_cover_the_audible_part_of_rumbles() -> None:
    for seed in range(6):
        _, call, events = noise_and_call(seed + 20, rumbles=1)
        if not events:
            continue
        (event,) = events
        low = band(call, 10, 300) ** 2
        assert low[max(event.start - RATE // 5, 0) : event.end + RATE // 5].sum() > 0.85 * low.sum()


def test_the_event_of_a_shot_ends_where_the_background_is_louder() -> None:
    noise = background_noise()
    for seed in range(8):
        lengths = []
        for snr_db in (6.0, 40.0):
            call = synthesise_gunshot(
                draw_gunshot(np.random.default_rng(seed), "sharp"), RATE, np.random.default_rng(1)
            )
            mix = noise.copy()
            event = add_call(mix, noise, call, 5 * RATE, snr_db, RATE, Recorder())
            assert event is not None
            lengths.append(event.end - event.start)
            tail = call.samples[call.core[0] + lengths[-1] : call.core[1]]
            loudest = power_envelope(call.samples[slice(*call.core)], RATE // 20).max()
            assert not len(tail) or np.mean(tail**2) < loudest * 10 ** (-snr_db / 10) or lengths[-1] == int(0.3 * RATE)
        assert int(0.3 * RATE) <= lengths[0] <= lengths[1]


def test_a_scene_may_begin_after_the_first_shot() -> None:
    late = 0
    for seed in range(10):
        gunfire = Gunfire(late_start_s=0.2)
        scene = compose(
            np.random.default_rng(seed), WINDOW, RATE, background_noise(), shots=1, gunfire=gunfire, recorder=Recorder()
        )
        late += bool(scene.events) and scene.events[0].start == 0
    assert late >= 8  # in the other scenes no shot remains


def test_a_silent_background_gives_a_silent_scene_without_events() -> None:
    scene = compose(
        np.random.default_rng(0), WINDOW, RATE, np.zeros(WINDOW, np.float32), rumbles=2, shots=1, recorder=Recorder()
    )
    assert not scene.samples.any()
    assert scene.events == []


def test_padding_contains_no_event() -> None:
    recorder = Recorder(lead_s=4.0, trail_s=6.0)
    for seed in range(10):
        scene = compose(
            np.random.default_rng(seed), WINDOW, RATE, background_noise(), rumbles=3, shots=1, recorder=recorder
        )
        assert not scene.samples[: 4 * RATE].any()
        assert not scene.samples[-6 * RATE :].any()
        assert scene.samples[4 * RATE : -6 * RATE].any()
        assert all(4 * RATE <= event.start < event.end <= WINDOW - 6 * RATE for event in scene.events)


def test_training_windows_are_valid_and_reproducible() -> None:
    empty = 0
    for seed in range(60):
        samples, events = training_window(np.random.default_rng((1, seed)), WINDOW, RATE, None)
        assert samples.shape == (WINDOW,)
        assert samples.dtype == np.float32
        assert np.isfinite(samples).all()
        assert np.abs(samples).max() <= 1
        empty += not events
        for event in events:
            assert 0 <= event.start < event.end <= WINDOW
            assert event.label in ("rumble", "gunshot")
            assert 0 < event.low_hz < event.high_hz
            assert event.end - event.start >= 0.1 * RATE
    assert 10 < empty < 35
    again, _ = training_window(np.random.default_rng((1, 59)), WINDOW, RATE, None)
    assert again.tobytes() == samples.tobytes()


def test_recorders_clip_quantise_and_insert_gaps() -> None:
    noise = background_noise()
    loud = Recorder(level_db=-3.0).store(noise, RATE)
    assert np.abs(loud).max() == 1
    coarse = Recorder(level_db=-20.0, bits=8).store(noise, RATE)
    assert len(np.unique(coarse)) <= 256
    gap = Recorder(gaps=((1.0, 0.5),)).store(noise, RATE)
    assert not gap[RATE : int(1.5 * RATE)].any()
    assert not Recorder(offset=0.1).store(np.zeros(WINDOW, np.float32), RATE).any()
    rng = np.random.default_rng(0)
    levels = [draw_recorder(rng, 20.48).level_db for _ in range(200)]
    assert max(levels) - min(levels) > 50


def test_the_table_of_a_scene_has_the_columns_of_an_events_table() -> None:
    scene = compose(np.random.default_rng(3), WINDOW, RATE, background_noise(), rumbles=2, shots=1, recorder=Recorder())
    table = scene.table("a.wav")
    assert len(table) == len(scene.events)
    assert {"recording", "start_s", "end_s", "label", "score", "low_hz", "high_hz", "snr_db"} <= set(table.columns)
    assert set(events_table([], RATE, "a.wav").columns) == set(table.columns)
