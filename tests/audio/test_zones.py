"""Time zones by name, offset and abbreviation."""

import zoneinfo
from datetime import UTC, datetime, timedelta

import pytest

from loxo.audio.filenames import Names
from loxo.audio.zones import find_zone
from loxo.errors import LoxoError


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        *(("+01:00", 1), ("+0100", 1), ("+1", 1), ("-03:00", -3), ("\u221203:00", -3), ("+05:30", 5.5), ("+14", 14)),
        *(("UTC+1", 1), ("utc-3", -3), ("GMT+2", 2), ("UTC +01:00", 1), ("+00:00", 0)),
        *(("WAT", 1), ("CAT", 2), ("SAST", 2), ("EAT", 3), ("wat", 1), ("UTC", 0), ("Z", 0), ("GMT", 0)),
        *(("Africa/Brazzaville", 1), ("Africa/Nairobi", 3), ("Asia/Kolkata", 5.5), ("Etc/GMT", 0), ("Etc/UTC", 0)),
    ],
)
def test_a_zone_has_this_offset(text, hours):
    assert find_zone(text).utcoffset(datetime(2020, 7, 1)) == timedelta(hours=hours)


def test_start_times_have_the_offset():
    assert Names(time_zone="EAT").parse("a_20200101_000000.wav").start == datetime(2019, 12, 31, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "meaning", "ahead"),
    [("Etc/GMT-1", "UTC+01:00", "+01:00"), ("Etc/GMT+1", "UTC-01:00", "+01:00"), ("etc/gmt-12", "UTC+12:00", "+12:00")],
)
def test_names_with_a_reversed_sign_are_refused_with_the_right_offset(text, meaning, ahead):
    with pytest.raises(LoxoError, match="reversed") as caught:
        find_zone(text)
    assert f"means {meaning}." in str(caught.value) and f"Use {ahead} for clocks ahead of UTC" in str(caught.value)


@pytest.mark.parametrize(
    "text", ["GMT1", "Etc/GMT1", "Etc/", "UTC 1", "Etc/GMT+15", "IST", "CST", "+15", "-13", "+1:75", "Africa"]
)
def test_no_sentence_offers_a_name_with_a_reversed_sign(text):
    with pytest.raises(LoxoError, match=r"no time zone .* such as \+01:00") as caught:
        find_zone(text)
    assert "Etc/" not in str(caught.value).replace(repr(text), "")


def test_every_name_of_the_database_is_found_or_refused_for_its_sign():
    for name in zoneinfo.available_timezones():
        expected = zoneinfo.ZoneInfo(name).utcoffset(datetime(2020, 7, 1))
        try:
            assert find_zone(name).utcoffset(datetime(2020, 7, 1)) == expected, name
        except LoxoError as error:
            assert "reversed" in str(error) and name.startswith("Etc/GMT")
