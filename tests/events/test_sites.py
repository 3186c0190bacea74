"""Tables of sites, as users write them, and what is wrong with them."""

import re
from datetime import datetime
from pathlib import Path

import pytest

from loxo.errors import LoxoError
from loxo.events.sites import Site, parse_sites, read_sites


def table(text: str, encoding: str = "utf-8"):
    return parse_sites(text.encode(encoding), "sites.csv")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_tables_of_all_encodings_and_separators_are_read(mark, encoding):
    rows = [
        ["Station", "Directory", "Lat", "Long", "TZ", "Habitat"],
        ["Bœuf – Nouabalé", "E:\\Cards\\CampA\\", "2.25", "16.5", "WAT", "bai"],
    ]
    found = table("\r\n".join(mark.join(row) for row in rows), encoding)
    (row,) = found.deployments
    assert row.site == Site("Bœuf – Nouabalé", 2.25, 16.5, "WAT") and row.folder == "e:/cards/campa"
    assert (row.recorder, row.pattern, row.start, row.end) == ("", "", None, None)


@pytest.mark.parametrize("cells", ["CampA;2,25;-16,5", 'CampA;"2,25";−16.5', "CampA;2.25;-16.5"])
def test_numbers_have_a_point_or_a_comma(cells):
    assert table(f"site;decimalLatitude;decimalLongitude\n{cells}\n").sites["CampA"].coordinates == (2.25, -16.5)


@pytest.mark.parametrize(
    ("dates", "start", "end"),
    [
        ("2024-03-01,2024-03-31", datetime(2024, 3, 1), datetime(2024, 4, 1)),  # the last day belongs to it
        ("20240301,2024-03-31 12:00", datetime(2024, 3, 1), datetime(2024, 3, 31, 12)),
        ("01.03.2024,2024-03-31T12:00:30", datetime(2024, 3, 1), datetime(2024, 3, 31, 12, 0, 30)),
        ("01/03/2024,31/03/2024", datetime(2024, 3, 1), datetime(2024, 4, 1)),  # the 31 shows the order
        ("03/01/2024,03/31/2024 6:30", datetime(2024, 3, 1), datetime(2024, 3, 31, 6, 30)),
        (",2024/03/31", None, datetime(2024, 4, 1)),
    ],
)
def test_dates_are_read_as_spreadsheets_write_them(dates, start, end):
    (row,) = table(f"site,start,end\nCampA,{dates}\n").deployments
    assert (row.start, row.end) == (start, end)
    assert row.covers(datetime(2024, 3, 5)) and not row.covers(datetime(2024, 5, 1))


def test_a_site_takes_what_only_one_of_its_rows_has():
    found = table("site,recorder,lat,lon,tz\nA,r1,,,\nA,r2,1,2,\nB,r3,,,\nA,r4,,,UTC\n")
    assert found.sites == {"A": Site("A", 1, 2, "UTC"), "B": Site("B")}
    assert {row.site for row in found.deployments if row.site.name == "A"} == {Site("A", 1, 2, "UTC")}


def test_a_row_without_a_recorder_belongs_to_the_recordings_of_its_name():
    assert [row.recorder for row in table("site,recorder\nNN01a,\nx,r\n").deployments] == ["nn01a", "r"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "needs a first line with the column site"),
        ("site,lat,lon\n", "at least one row below"),
        ("place,lat,lon\na,1,2\n", "needs a first line with the column site"),
        ("site,station\na,b\n", "the columns 'site' and 'station' both mean the site"),
        ("site,lat\na,1\n", "a column 'lat', but none for the longitude"),
        ("site,lat,lon\na,1,2\n,1,2\n", "line 3: the row has no site"),
        ("site,lat,lon\na,2,25,16,5\n", "line 2: the row has 5 cells, but the first line has 3"),
        ("site,lat,lon\na,1,\n", "line 2: latitude '1' and longitude '' are not two numbers"),
        ("site,lat,lon\na,2°15'N,16°30'E\n", "Write degrees such as 2.25 and 16.5"),
        ("site,lat,lon\na,116.5,2.25\n", "They seem to be swapped"),
        ("site,lat,lon\na,651234,9812345\n", "Write degrees, not metres of a map"),
        ("site,tz\na,WAT\nb,Africa/Brazaville\n", "line 3: There is no time zone.*Nearest: Africa/Brazzaville"),
        ("site,recorder,lat,lon\na,r,1,2\na,s,1,3\n", "line 3: the site a has other coordinates than in line 2"),
        ("site,recorder,tz\na,r,WAT\na,s,EAT\n", "line 3: the site a has another time zone than in line 2"),
        ("site,start\na,soon\n", "line 2: 'soon' is not a date"),
        ("site,start\na,2024-02-30\n", "line 2: '2024-02-30' is not a date"),
        ("site,end\na,9999-12-31\n", "line 2: '9999-12-31' is not a date"),
        ("site,start\na,03/04/2024\n", "line 2: the date '03/04/2024' has two readings"),
        ("site,start,end\na,2024-03-02,2024-03-01\n", "line 2: the deployment ends .* before it starts"),
        ("site,recorder\na,r\nb,s\na,R\n", "line 4: the row repeats line 2"),
        ("site,recorder\na,r\nb,r\n", "line 3: the deployment of r overlaps the one in line 2"),
        (
            "site,recorder,start,end\na,r,2024-03-10,\nb,r,2024-02-01,2024-03-10\n",
            "line 2: the deployment of r overlaps the one in line 3.*for a move within a day add times",
        ),
    ],
)
def test_faults_are_one_sentence_with_the_line_and_the_way_out(text, sentence):
    with pytest.raises(LoxoError, match=sentence) as caught:
        table(text)
    assert str(caught.value).startswith("sites.csv")


def test_a_recorder_may_move_within_a_day():
    text = "site,recorder,start,end\na,r,2024-02-01,2024-03-10 12:00\nb,r,2024-03-10 12:00,\n"
    assert len(table(text).deployments) == 2


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(LoxoError, match=r"gone\.csv: the table of sites cannot be opened"):
        read_sites(tmp_path / "gone.csv")


def test_the_table_of_the_documentation_is_valid():
    page = (Path(__file__).resolve().parents[2] / "docs/detection.md").read_text()
    (text,) = re.findall(r"```\n(site,.*?)```", page, re.DOTALL)
    assert list(table(text).sites) == ["North bai", "South bai", "River"]
