from datetime import UTC, date, datetime, timedelta

import pytest

from loxo.audio.zones import find_zone
from loxo.errors import LoxoError
from loxo.report.clock import Clock, parse_coordinates, sun_times


def test_start_times_are_converted_to_the_wall_clock_of_the_report():
    naive, aware = datetime(2020, 1, 1, 23), datetime(2020, 1, 1, 23, tzinfo=UTC)
    east = find_zone("Africa/Brazzaville")  # UTC + 1
    assert Clock().local(naive) == naive and Clock().local(aware) == naive
    assert Clock(east).local(naive) == naive  # taken as being in the zone
    assert Clock(east).local(aware) == datetime(2020, 1, 2)
    assert Clock(east, UTC).local(naive) == datetime(2020, 1, 2)  # the recorder's clock showed UTC


def test_sunrise_agrees_with_an_almanac():
    """Greenwich at midsummer 2024: 4:43 and 21:21 British summer time; midnight sun at Tromso."""
    day = date(2024, 6, 21)
    [(_, rise, sink)] = sun_times((51.48, 0.0), find_zone("Europe/London"), [day])
    assert abs(rise - datetime(2024, 6, 21, 4, 43)) < timedelta(minutes=2)
    assert abs(sink - datetime(2024, 6, 21, 21, 21)) < timedelta(minutes=2)
    assert sun_times((69.65, 18.96), find_zone("Europe/Oslo"), [day]) == [(day, None, None)]


def test_coordinates_are_one_place_or_a_table_of_sites(tmp_path):
    assert parse_coordinates("2.2, 16.5") == {"": (2.2, 16.5)}
    table = tmp_path / "sites.csv"
    table.write_text("Site,Lat,Lon\nnn01a,2.1,16.4\nnn02a,-2.2,16.6\n")
    assert parse_coordinates(str(table)) == {"nn01a": (2.1, 16.4), "nn02a": (-2.2, 16.6)}


@pytest.mark.parametrize("row", ["nn01a;2,123;16,4", "nn01a;2.123;16.4", "nn01a\t2,123\t16,4"])
def test_tables_of_sites_are_read_as_other_tables(tmp_path, row):
    table = tmp_path / "sites.csv"
    mark = "\t" if "\t" in row else ";"
    table.write_bytes(f"Site{mark}Lat{mark}Lon\r\n\r\n{row}\r\n".encode("utf-16"))
    assert parse_coordinates(str(table)) == {"nn01a": (2.123, 16.4)}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [("95,16", "latitude must lie"), ("2.2,x", "not a latitude and a longitude"), ("nowhere.csv", "neither LAT,LON")],
)
def test_wrong_coordinates_are_refused(given, sentence):
    with pytest.raises(LoxoError, match=sentence):
        parse_coordinates(given)


def test_wrong_tables_of_coordinates_are_refused(tmp_path):
    table = tmp_path / "sites.csv"
    table.write_text("name,lat,lon\na,1,2\n")
    with pytest.raises(LoxoError, match="columns site, lat, lon"):
        parse_coordinates(str(table))
    table.write_text("site,lat,lon\na,1,2\nb,1,\n")
    with pytest.raises(LoxoError, match="line 3"):
        parse_coordinates(str(table))
