"""Sites and start times out of file names."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from loxo.audio.filenames import base_name, parse_name


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
        ("nn01a_20180126_000000_48835.flac", None, None),  # a clip out of a recording
        ("5CE4A680.WAV", None, datetime(2019, 5, 22, 1, 31, 44, tzinfo=UTC)),
        ("nn01_20190231_000000.wav", None, None),
        ("00000001.WAV", None, None),
        ("rumble.wav", None, None),
        ("", None, None),
    ],
)
def test_names(name, site, start):
    assert parse_name(name) == (site, start)


def test_base_name_of_any_system():
    assert base_name("L:\\a\\b.wav") == base_name("/a/b.wav") == base_name("a\\b.wav") == base_name("b.wav") == "b.wav"
