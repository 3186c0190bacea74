"""Channels of a recording: which are searched, and when their difference is reported."""

import numpy as np
import pytest

from loxo.audio.channels import (
    ChannelCheck,
    add_counts,
    channel_note,
    channel_rows,
    parse_channel,
    searched_channels,
)
from loxo.errors import LoxoError

RATE, SECONDS = 4000, 60
TIME = np.arange(SECONDS * RATE) / RATE
RNG = np.random.default_rng(3)


def noise(level: float) -> np.ndarray:
    return level * RNG.standard_normal(len(TIME))


CALLS = 0.1 * np.sin(2 * np.pi * 25 * TIME) * (TIME % 15 < 4)
GOOD = CALLS + noise(0.01)
OTHERS = {
    "noise": (np.clip(noise(1.0), -1, 1), "channel 2 is the loudest"),
    "pulses": (0.9 * (TIME % 1 < 0.001) + noise(0.001), "channel 2 is the loudest"),
    "hum": (0.8 * np.sin(2 * np.pi * 50 * TIME), "channel 2 is the loudest"),
    "silent": (np.zeros(len(TIME)), "by more than 100 dB; channel 1 is the loudest"),
    "opposite": (-GOOD, "opposite polarity"),
    "opposite, with own noise": (-CALLS + noise(0.01), "opposite polarity"),
    "opposite and louder": (-2 * GOOD, "opposite polarity"),
    "equal": (GOOD, None),
    "own noise": (CALLS + noise(0.01), None),
    "half as loud": (0.5 * GOOD, None),
    "later": (np.roll(GOOD, 4), None),
    "offset": (GOOD + 0.5, None),
}


def counts(*channels: np.ndarray, pieces: int = 1) -> np.ndarray:
    check = ChannelCheck(len(channels), RATE)
    for piece in np.array_split(np.stack(channels, 1).astype(np.float32), pieces):
        check.add(piece)
    return check.counts


@pytest.mark.parametrize("kind", OTHERS)
def test_channels_that_differ_much_are_reported(kind):
    other, expected = OTHERS[kind]
    note = channel_note("a.wav", counts(GOOD, other))
    if expected is None:
        assert note is None
    else:
        assert note.startswith("a.wav: ") and expected in note and "--channel each" in note


def test_a_broken_channel_among_four_is_named():
    note = channel_note("a.wav", counts(GOOD, CALLS + noise(0.01), OTHERS["hum"][0], CALLS + noise(0.01)))
    assert "channel 3 is the loudest" in note


def test_a_difference_in_few_chunks_is_not_reported():
    fine, broken = counts(GOOD, GOOD), counts(GOOD, OTHERS["noise"][0])
    total = broken
    for _ in range(9):
        total = add_counts(total, fine)
    assert channel_note("a.wav", total) is not None  # one of ten
    assert channel_note("a.wav", add_counts(total, fine)) is None
    assert np.array_equal(add_counts(fine, broken), add_counts(broken, fine))


@pytest.mark.parametrize("length", [0, 1, 100, RATE - 1, RATE + 1])
def test_short_blocks(length):
    check = ChannelCheck(2, RATE)
    check.add(np.stack((GOOD, -GOOD), 1)[:length].astype(np.float32))
    assert (channel_note("a.wav", check.counts) is not None) == (length >= 100)


def test_the_given_channel():
    assert [parse_channel(value) for value in ("mix", " Each", "2", 3)] == ["mix", "each", 2, 3]
    for value in ("left", "0", "-1", "1.5", 0, "", "\u00b2"):
        with pytest.raises(LoxoError, match="must be mix, each, or a number from 1"):
            parse_channel(value)
    assert searched_channels("a.wav", 2, "mix") == [None]
    assert searched_channels("a.wav", 2, "each") == [0, 1] and searched_channels("a.wav", 2, 2) == [1]
    with pytest.raises(LoxoError, match=r"a\.wav: there is no channel 3: the recording has 2 channels"):
        searched_channels("a.wav", 2, 3)
    assert channel_rows(("x", "x overlap"), 1) == ("x", "x overlap")
    assert channel_rows(("x", "y"), 2) == ("channel 1: x", "channel 1: y", "channel 2: x", "channel 2: y")
