"""Sites and start times from file names."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from loxo.audio.filenames import Names, add_seconds, base_name, parse_name
from loxo.errors import LoxoError


@pytest.mark.parametrize(
    ("name", "site", "start"),
    [
        ("nn06b_20201005_000100.wav", "nn06b", datetime(2020, 10, 5, 0, 1)),
        ("L:\\ELP\\nn_sounds\\nn01d_20180127_000000.wav", "nn01d", datetime(2018, 1, 27)),
        (
            "s3://congo8khz-pnnn/recordings/wav/ce02c/ce02c_20190522_235959.wav",
            "ce02c",
            datetime(2019, 5, 22, 23, 59, 59),
        ),
        ("20190522_000000.WAV", None, datetime(2019, 5, 22)),
        ("S4A03895_20190522_000000.wav", "S4A03895", datetime(2019, 5, 22)),
        ("SM4_0+1_20190522_010203.wav", "SM4_0+1", datetime(2019, 5, 22, 1, 2, 3)),
        ("S4A03895_20190522_000000+0100.flac", "S4A03895", datetime(2019, 5, 22, tzinfo=timezone(timedelta(hours=1)))),
        ("site_20190522T000000Z.wav", "site", datetime(2019, 5, 22, tzinfo=UTC)),
        ("SMM01_20190522_000000_000.wav", "SMM01", datetime(2019, 5, 22)),
        ("20190522T000000+1000_Lake-East.wav", None, datetime(2019, 5, 22, tzinfo=timezone(timedelta(hours=10)))),
        ("nn01a_20180126_000000_48835.flac", None, None),  # a clip from a recording
        ("5CE4A680.WAV", None, datetime(2019, 5, 22, 1, 31, 44, tzinfo=UTC)),
        ("nn01_20190231_000000.wav", None, None),
        ("00000001.WAV", None, None),
        ("rumble.wav", None, None),
        ("", None, None),
    ],
)
def test_parse_name_reads_known_formats(name, site, start):
    assert parse_name(name) == (site, start)


def test_base_name_splits_paths_of_every_system():
    assert base_name("L:\\a\\b.wav") == base_name("/a/b.wav") == base_name("a\\b.wav") == base_name("b.wav") == "b.wav"


@pytest.mark.parametrize(
    ("name", "site", "start"),
    [
        ("S1093_20220101_000000+0100.wav", "S1093", datetime(2022, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
        ("SM2_20110522_010203_000.wav", "SM2", datetime(2011, 5, 22, 1, 2, 3)),
        ("SM3_0+1_20140522$010203.wav", "SM3_0+1", datetime(2014, 5, 22, 1, 2, 3)),
        ("SMM01234_20210522_010203.wav", "SMM01234", datetime(2021, 5, 22, 1, 2, 3)),
        ("24F31901603710C5_20190522_010203.WAV", "24F31901603710C5", datetime(2019, 5, 22, 1, 2, 3)),
        ("20190522_010203T.WAV", None, datetime(2019, 5, 22, 1, 2, 3)),
    ],
)
def test_parse_name_reads_formats_of_more_recorders(name, site, start):
    assert parse_name(name) == (site, start)


@pytest.mark.parametrize(
    ("pattern", "path", "site", "start"),
    [
        ("{site}/%Y%m%d_%H%M%S", "E:\\cards\\nn01\\20190522_010203.WAV", "nn01", datetime(2019, 5, 22, 1, 2, 3)),
        ("rec-*_{site}_%d.%m.%Y_%Hh%M", "a/rec-7_ce 02_22.05.2019_13h45.mp3", "ce 02", datetime(2019, 5, 22, 13, 45)),
        ("{site}-%Y%j", "x-2019142.wav", "x", datetime(2019, 5, 22)),
        ("%y%m%d%H%M%z {site}", "1905220102Z here.wav", "here", datetime(2019, 5, 22, 1, 2, tzinfo=UTC)),
        (r"(?P<date>\d{4}-\d\d-\d\d) (?P<time>\d{4})_(?P<site>\w+)", "2019-05-22 0102_k.wav", "k",
         datetime(2019, 5, 22, 1, 2)),
        (r"(?P<site>[a-z]+)\d*", "abc12.wav", "abc", None),
        ("{site}_%Y%m%d", "nn01_20190231.wav", "nn01", None),
        ("{site}_%Y%m%d", "nn01_20190522_000000.wav", None, None),  # no match: nothing is guessed
        ("{site}_%Y%m%d", "", None, None),
    ],
)  # fmt: skip
def test_a_pattern_gives_site_and_start(pattern, path, site, start):
    assert Names(pattern).parse(path) == (site, start)


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [("{place}_%Y", "{place}"), ("%Y%m%d_%Q", "%Q"), ("*.wav", "neither"), ("(?P<site>", "not a valid")],
)
def test_an_invalid_pattern_raises(pattern, fault):
    with pytest.raises(LoxoError, match=fault):
        Names(pattern)


def test_the_time_zone_applies_to_names_without_a_zone():
    names = Names(time_zone="Africa/Brazzaville")
    assert names.parse("nn01_20190522_000000.wav").start.isoformat() == "2019-05-22T00:00:00+01:00"
    assert names.parse("5CE4A680.WAV").start.isoformat() == "2019-05-22T02:31:44+01:00"
    assert names.parse("rumble.wav") == (None, None)


def test_add_seconds_across_a_change_to_daylight_saving_time():
    start = Names(time_zone="Europe/Berlin").parse("a_20190330_120000.wav").start
    assert add_seconds(start, 24 * 3600).isoformat() == "2019-03-31T13:00:00+02:00"
    assert add_seconds(datetime(2019, 3, 30, 12), 1.5) == datetime(2019, 3, 30, 12, 0, 1, 500000)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        *(("Africa/Brazaville", "Africa/Brazzaville"), ("brazzaville", "Africa/Brazzaville")),
        *(("../etc/passwd", "such as"), ("", "such as"), ("Congo", "Zone|Nearest|such as")),
    ],
)
def test_an_unknown_zone_raises_with_the_nearest_names(name, near):
    with pytest.raises(LoxoError, match=near):
        Names(time_zone=name)
