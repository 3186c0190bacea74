from datetime import UTC, date, datetime, timedelta

import pytest

from loxo.audio.zones import find_zone
from loxo.errors import LoxoError
from loxo.report.clock import Clock, are_near, parse_coordinates, sun_times
from loxo.runs.sites import Origin


def test_start_times_are_converted_to_the_wall_clock_of_the_report():
    naive, aware = Origin("", datetime(2020, 1, 1, 23)), Origin("", datetime(2020, 1, 1, 23, tzinfo=UTC))
    east = find_zone("Africa/Brazzaville")  # UTC + 1
    assert Clock().local(naive) == Clock().local(aware) == naive.start
    assert Clock(east).local(naive) == naive.start  # taken as being in the zone
    assert Clock(east).local(aware) == datetime(2020, 1, 2)
    assert Clock(east, UTC).local(naive) == datetime(2020, 1, 2)  # the recorder's clock showed UTC
    assert Clock().local(Origin("", None)) is None


def test_times_are_those_of_the_site_unless_the_report_has_a_zone():
    east, far = find_zone("Africa/Brazzaville"), find_zone("Africa/Nairobi")  # UTC + 1, UTC + 3
    naive = Origin("a", datetime(2020, 1, 1, 22), far)
    aware = naive._replace(start=datetime(2020, 1, 1, 22, tzinfo=UTC))
    assert Clock().local(naive) == naive.start and Clock().local(aware) == datetime(2020, 1, 2, 1)
    assert Clock(None, UTC).local(naive) == datetime(2020, 1, 2, 1)
    assert Clock(east).local(naive) == datetime(2020, 1, 1, 20)
    assert Clock(east).local(aware) == datetime(2020, 1, 1, 23)


def test_sunrise_agrees_with_an_almanac():
    """Greenwich at midsummer 2024: 4:43 and 21:21 British summer time; midnight sun at Tromso."""
    day = date(2024, 6, 21)
    [(_, rise, sink)] = sun_times((51.48, 0.0), find_zone("Europe/London"), [day])
    assert abs(rise - datetime(2024, 6, 21, 4, 43)) < timedelta(minutes=2)
    assert abs(sink - datetime(2024, 6, 21, 21, 21)) < timedelta(minutes=2)
    assert sun_times((69.65, 18.96), find_zone("Europe/Oslo"), [day]) == [(day, None, None)]


def test_the_sun_of_two_near_sites_is_one_line_in_a_figure():
    days, zone = [date(2024, 6, 21)], find_zone("Africa/Libreville")
    here, near, far = (sun_times(place, zone, days) for place in ((0.5, 11.5), (0.8, 12.0), (0.5, 14.0)))
    polar = [(days[0], None, None)]
    assert are_near(here, near) and not are_near(here, far) and not are_near(here, polar) and are_near(polar, polar)


def test_coordinates_are_one_place():
    assert parse_coordinates("2.2, 16.5") == (2.2, 16.5)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [("95,16", "latitude must lie"), ("2.2,x", "takes LAT,LON"), ("nowhere.csv", "give a table with --sites")],
)
def test_wrong_coordinates_are_refused(given, sentence):
    with pytest.raises(LoxoError, match=sentence):
        parse_coordinates(given)
