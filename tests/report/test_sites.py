"""Sites in a report: the map, its files, the clocks, and folders that are no longer pooled."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from pages import assert_self_contained
from report_runs import event, recording, write_run

from loxo.errors import LoxoError
from loxo.report.figures import render
from loxo.report.report import report
from loxo.report.sites import draw_map, nice, project

TABLE = "site,folder,lat,lon,tz\nNorth,CampA,2.2,16.5,WAT\nSouth,CampB,1.2,16.5,EAT\nWest,CampC,,,\n"


def camps(folder, folders=("CampA", "CampB", "CampC")):
    """Camps whose recordings have the same names: CampA with two rumbles, all others with one."""
    names = [f"cards/{camp}/20240301_220000.WAV" for camp in folders]
    events = [event(name, 60.0) for name in names] + [event(names[0], 7200.0)]
    return write_run(folder, [recording(name, 12) for name in names], sorted(events))


def table_file(folder, text=TABLE):
    path = folder / "table.csv"
    path.write_text(text)
    return path


def test_two_audiomoth_camps_are_two_sites_and_the_page_says_where_they_come_from(tmp_path):
    made = report(camps(tmp_path / "run"))
    effort = pd.read_csv(tmp_path / "run/report.effort.csv")
    assert effort.groupby("site")["analysed_h"].sum().to_dict() == {"CampA": 12, "CampB": 12, "CampC": 12}
    (note,) = [note for note in made.notes if "Each folder is a site" in note]
    page = assert_self_contained(made.page)
    assert note.split(" as with")[0] in " ".join(page.words)
    assert "recorded more than once at a site" not in " ".join(page.words)
    assert 'id="sites"' not in made.page.read_text()  # no coordinates: no map, and no empty section
    assert not list((tmp_path / "run").glob("report.sites.*"))


def test_a_table_gives_a_map_files_and_the_clock_of_each_site(tmp_path):
    run = camps(tmp_path / "run")
    made = report(run, tmp_path / "page.html", sites=table_file(tmp_path), figures=tmp_path / "figures")
    text = made.page.read_text()
    assert_self_contained(made.page)
    assert text.count("map of listed rumbles in 24 h") == 1 and "North" in text
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"map-1.svg", "map-1.png"} <= drawn and "map-2.svg" not in drawn  # no gunshot, no map of gunshots
    table = pd.read_csv(tmp_path / "page.sites.csv").set_index("site")
    assert table["rumble events"].to_dict() == {"North": 2, "South": 1, "West": 1}
    assert table.loc["North", "rumble listed_per_day"] == 4 and table.loc["South", "time_zone"] == "EAT"
    content = json.loads((tmp_path / "page.sites.geojson").read_text())
    features = {one["properties"]["site"]: one for one in content["features"]}
    assert features["North"]["geometry"] == {"type": "Point", "coordinates": [16.5, 2.2]}
    assert features["West"]["geometry"] is None and features["North"]["properties"]["rumble listed_per_day"] == 4
    sun = pd.read_csv(tmp_path / "page.sun.csv").groupby("site")["sunrise"].first()
    assert list(sun.index) == ["North", "South"] and sun["North"] < "06:30" < "07:30" < sun["South"]
    assert any("not shown for West" in note for note in made.notes)
    assert (run / "sites.csv").is_file()
    again = report(run, tmp_path / "again.html")  # the stored table
    assert again.page.read_text() == text


def test_one_place_is_a_table_and_no_map_and_recorders_on_utc_show_the_clock_of_their_site(tmp_path):
    run = camps(tmp_path / "run", ("CampA", "CampB"))
    table = table_file(tmp_path, "site,folder,lat,lon,tz\nNorth,CampA,1,2,WAT\nSouth,CampB,,,EAT\n")
    text = report(run, sites=table, clock_zone="UTC").page.read_text()
    assert 'id="sites"' in text and "map of" not in text
    hours = pd.read_csv(run / "report.hours.csv")
    assert hours.groupby("site")["hour"].first().to_dict() == {"North": 23, "South": 1}


def test_a_wrong_table_leaves_run_and_page_as_they_were(tmp_path):
    run = camps(tmp_path / "run")
    with pytest.raises(LoxoError, match="They seem to be swapped"):
        report(run, sites=table_file(tmp_path, "site,lat,lon\na,116,2\n"))
    assert sorted(path.name for path in run.iterdir()) == ["events.csv", "run.json"]


def test_the_commands_take_a_table_and_say_what_is_wrong_with_it(loxo, tmp_path):
    run, table = camps(tmp_path / "run"), table_file(tmp_path)
    assert loxo("report", run, "--sites", table)[0] == 0 and (run / "report.sites.geojson").is_file()
    code, _, err = loxo("review", run, "--sites", table_file(tmp_path, "site\nNord\n"), "--export")
    assert code == 0 and "no recording matches line 2 (Nord)" in err and b"Nord" in (run / "sites.csv").read_bytes()
    for command in (("report", run), ("review", run, "--export"), ("detect", tmp_path, "--out", tmp_path / "x")):
        code, _, err = loxo(*command, "--sites", tmp_path / "gone.csv")
        assert code == 2 and "gone.csv: the table of sites cannot be opened" in err
    assert loxo("report", run, run, "--sites", table)[0] == 2


# -- the drawing


def test_the_plane_keeps_distances_and_crosses_the_date_line():
    x, y = project(np.array([60.0, 60.0, 61.0]), np.array([10.0, 11.0, 10.0]))
    assert np.hypot(x[1] - x[0], y[1] - y[0]) == pytest.approx(55.0, abs=1)  # a degree east at 60.5 degrees north
    assert y[2] - y[0] == pytest.approx(111.2, abs=0.1)
    x, _ = project(np.array([0.0, 0.0]), np.array([179.5, -179.5]))
    assert x[1] - x[0] == pytest.approx(111.2, abs=0.1)


def test_scales_have_round_numbers():
    assert [nice(value) for value in (0.0, 0.7, 1.0, 34, 5000)] == [0, 0.5, 1, 20, 5000]
    assert [nice(value, up=True) for value in (0.0, 0.7, 34, 51)] == [0, 1, 50, 100]


def test_a_map_is_drawn_with_any_rates_and_names():
    names = ["a" * 60, "$x^2$", "c", "d"]
    table = pd.DataFrame({"site": names, "latitude": [1, 1.1, 1.1, np.nan], "longitude": [2, 2, 2.1, np.nan]}).assign(
        **{"rumble per_day": [np.nan] * 4, "rumble listed_per_day": [0.0, np.nan, 3.0, 9.0]}
    )
    svg = render(lambda: draw_map(table, "rumble", "#0072B2"), "svg", "map-1").decode()
    texts = set(re.findall(r">([^<>\n]+)</text>", svg))
    assert {"a" * 17 + "…", "$x^2$", "c", "3.0", "N", "2 km", "5 in 24 h"} <= texts and "d" not in texts
    reviewed = table.assign(**{"rumble per_day": [0.0, 0.0, 0.0, 7.0]})  # no listed event was true
    assert "no rumbles" in render(lambda: draw_map(reviewed, "rumble", "#0072B2"), "svg", "map-1").decode()
