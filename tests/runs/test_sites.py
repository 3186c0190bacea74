"""Sites of recordings: from the table of sites, from names, from folders; what is not known is said."""

import shutil
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
import pytest
from fakes import FakeModel, write

from loxo.audio.filenames import USUAL_NAMES, Names
from loxo.errors import LoxoError
from loxo.events.sites import parse_sites
from loxo.runs.read import read_run
from loxo.runs.sites import find_origins, folders, replace_sites
from loxo.survey.redecode import redecode
from loxo.survey.survey import survey

CAMPS = [f"cards/{camp}/2024030{day}_060000.WAV" for camp in ("CampA", "CampB") for day in (1, 2)]


def origins(recordings, text: str | None = None, names: Names = USUAL_NAMES):
    return find_origins(recordings, names, None if text is None else parse_sites(text.encode(), "sites.csv"))


def sites(recordings, text: str | None = None, names: Names = USUAL_NAMES) -> list[str]:
    found = origins(recordings, text, names)
    return [found.by_recording[name].site for name in recordings]


def pattern_in(note: str) -> str:
    return note.split("--name-pattern '")[1].split("'")[0]


@pytest.mark.parametrize(
    ("recordings", "expected"),
    [
        # AudioMoth: the names have no site
        (CAMPS, ["CampA", "CampA", "CampB", "CampB"]),
        (["CampA/20240301/20240301_060000.WAV", "CampB/20240301/20240301_060000.WAV"], ["CampA", "CampB"]),
        (["E:\\cards\\CampA\\DATA\\20240301_060000.WAV", "F:\\CampB\\20240301_060000.WAV"], ["CampA", "CampB"]),
        (["s3://bucket/CampA/20240301_060000.WAV", "s3://bucket/CampB/20240301_060000.WAV"], ["CampA", "CampB"]),
        (["CampA/5CE4A680.WAV", "CampB/5CE4A680.WAV"], ["CampA", "CampB"]),
        (["CampA/card1/20240301_060000.WAV", "CampB/card1/20240301_060000.WAV"], ["CampA/card1", "CampB/card1"]),
        (["CampA/20240301_060000.WAV", "old/CampA/20240301_060000.WAV"], ["CampA", "old/CampA"]),
        # AudioMoth with its number, Song Meter, Swift, the archive of the Elephant Listening Project
        (["CampA/24F31901603710C5_20240301_060000.WAV"], ["24F31901603710C5"]),
        (["CampA/Data/S4A03895_20240301_060000.wav"], ["S4A03895"]),
        (["SWIFT/S1093_20240301_060000+0100.wav"], ["S1093"]),
        (["wav/ce02c/ce02c_20240301_060000.wav", "wav/nn01a/nn01a_20240301_060000.wav"], ["ce02c", "nn01a"]),
    ],
)
def test_folders_of_the_usual_recorders_give_sites(recordings, expected):
    assert sites(recordings) == expected


@pytest.mark.parametrize(
    ("recordings", "pattern"),
    [
        (CAMPS, "{site}/%Y%m%d_%H%M%S"),
        (["CampA/2024-03/20240301_060000.WAV", "CampB/2024-03/20240301_060000.WAV"], "{site}/*/%Y%m%d_%H%M%S"),
    ],
)
def test_folders_that_are_sites_are_said_once_with_a_pattern_of_the_same_meaning(recordings, pattern):
    (note,) = origins(recordings).notes
    assert "Each folder is a site" in note and "CampA, CampB" in note and pattern_in(note) == pattern
    same = origins(recordings, names=Names(pattern))
    assert same.notes == () and same.by_recording == origins(recordings).by_recording


@pytest.mark.parametrize(
    "recordings",
    [
        ["a/card1/20240301_060000.WAV", "b/card1/20240301_060000.WAV"],  # {site} has no slash
        ["a/20240301_060000.WAV", "b/rumble.wav"],
        ["a/20240301_060000.WAV", "b/nn01_20240301_060000.wav"],
    ],
)
def test_no_pattern_is_named_where_none_has_the_same_meaning(recordings):
    (note,) = origins(recordings).notes
    assert "Each folder is a site" in note and "--name-pattern" not in note and "--sites" in note


def test_one_name_in_several_folders_is_said_unless_the_folder_has_that_name():
    (note,) = origins(["CampA/SM2_20240301_060000.wav", "CampB/SM2_20240301_060000.wav"]).notes
    assert "SM2 (CampA, CampB)" in note and "--sites" in note
    assert origins(["disk1/nn01/nn01_20240301_060000.wav", "disk2/nn01/nn01_20240302_060000.wav"]).notes == ()
    assert origins(["nn/2023/nn01_20230301_060000.wav", "nn/2024/nn01_20240301_060000.wav"]).notes == ()


def test_recordings_without_a_folder_have_no_site():
    assert sites(["20240301_060000.WAV", "./x.wav"]) == ["", ""] and folders("2024/20240301/x.wav") == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("site,folder\nNorth,CampA\nSouth,campb\n", ["North", "North", "South", "South"]),
        ("site,folder\nNorth,cards/CampA\nSouth,cards\\CampB\n", ["North", "North", "South", "South"]),
        ("site,recorder\nNorth,CampA\nSouth,CAMPB\n", ["North", "North", "South", "South"]),
        ("site,pattern\nNorth,CampA/*\nSouth,campb/2024*.wav\n", ["North", "North", "South", "South"]),
        ("site,pattern\nEarly,20240301_*\nLate,20240302_??????\n", ["Early", "Late", "Early", "Late"]),
        ("site,folder,pattern\nX,CampA,20240302*\n", ["CampA", "X", "CampB", "CampB"]),
        ("site,folder,start,end\nX,CampA,,2024-03-01\nY,CampA,2024-03-02,\n", ["X", "Y", "CampB", "CampB"]),
        ("station\nCAMPA\n", ["CAMPA", "CAMPA", "CampB", "CampB"]),
        ("site,folder\nBoth,cards\n", ["Both"] * 4),
        ("site,folder\nNorth,/media/ana/cards/CampA/\n", ["North", "North", "CampB", "CampB"]),
    ],
)
def test_rows_match_by_folder_recorder_pattern_and_dates(text, expected):
    assert sites(CAMPS, text) == expected


def test_rows_without_recordings_and_recordings_without_rows_are_said():
    notes = origins(CAMPS, "site,folder\nNorth,CampA\nWest,CampC\nSouth,CampB/x\n").notes
    assert "no recording matches line 3 (West), line 4 (South)" in notes[0]
    assert "2 recordings are in no row of sites.csv: cards/CampB/20240301_060000.WAV and 1 more" in notes[1]
    assert "CampB" in notes[2] and "CampA" not in notes[2]
    assert origins(CAMPS, "site,folder\nNorth,CampA\nSouth,CampB\n").notes == ()


def test_a_recording_of_two_sites_is_refused():
    with pytest.raises(
        LoxoError, match=r"CampA/20240301_060000.WAV matches line 2 \(a\) and line 3 \(b\)\. Give longer"
    ):
        origins(CAMPS, "site,folder\na,CampA\nb,cards\n")


def test_a_recording_without_a_start_time_has_the_only_site_of_its_recorder():
    moved = "site,folder,start,end\nX,CampA,,2024-03-01\nY,CampA,2024-03-02,\nZ,CampB,2024-03-02,\n"
    assert sites(["CampA/clip.wav", "CampB/clip.wav"], moved) == ["CampA", "Z"]


def test_the_zone_of_a_site_applies_to_its_clock_and_its_dates():
    text = "site,recorder,tz,start,end\nX,r,+03:00,,2024-03-01\nY,r,+03:00,2024-03-02,\n"
    found = origins(["r_20240301_220000.wav"], text).by_recording["r_20240301_220000.wav"]
    zone = timezone(timedelta(hours=3))
    assert found.site == "X" and found.time() == datetime(2024, 3, 1, 22, tzinfo=zone)
    utc = Names(time_zone="UTC")
    found = origins(["r_20240301_220000.wav"], text, utc).by_recording["r_20240301_220000.wav"]
    assert found.site == "Y" and found.time() == datetime(2024, 3, 1, 22, tzinfo=UTC)
    assert found.time().isoformat() == "2024-03-02T01:00:00+03:00"


# -- in a run folder


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    """Two camps whose recordings have the same names, as AudioMoths write them."""
    folder = tmp_path_factory.mktemp("sites") / "card"
    for k, path in enumerate(("CampA/20240301_060000.WAV", "CampB/20240301_060000.WAV")):
        write(folder / path, 8, seed=k)
    return folder


@pytest.fixture(scope="module")
def done(card):
    """A run of it without a table of sites, with its summary."""
    return card.parent / "done", run(card, card.parent / "done")


@pytest.fixture
def copy(done, tmp_path):
    return Path(shutil.copytree(done[0], tmp_path / "copy"))


def run(card, out, **options):
    options = {"formats": "raven,kaleidoscope", "keep_scores": True, "threshold": 0.0, **options}
    return survey([card], "fake", out, load=FakeModel, **options)


def written(run):
    return pd.read_csv(run / "events.csv", keep_default_na=False)


def test_two_camps_are_never_one_site(done):
    out, summary = done
    assert "CampA, CampB" in summary.notes[0] and pattern_in(summary.notes[0]) == "{site}/%Y%m%d_%H%M%S"
    table = written(out)
    assert len(table) > 1 and [site in name for site, name in zip(table["site"], table["recording"], strict=True)]
    assert set(table["site"]) == {"CampA", "CampB"} == set(read_run(out).events["site"])


def test_the_table_is_stored_used_by_all_and_replaced_later(card, tmp_path):
    text = "site,folder,lat,lon,tz\nNorth,CampA,2.2,16.5,WAT\nSouth,CampB,2.1,16.4,EAT\n"
    first, second, out = tmp_path / "first.csv", tmp_path / "second.csv", tmp_path / "run"
    first.write_text(text)
    second.write_text(text.replace("North", "Nord").replace("WAT", "UTC"))
    assert run(card, out, sites=first).notes == []
    assert (out / "sites.csv").read_bytes() == first.read_bytes()
    table = written(out)
    assert set(zip(table["site"], table["start_time"].str[-6:], strict=True)) == {
        ("North", "+01:00"),
        ("South", "+03:00"),
    }
    opened = read_run(out)
    assert opened.sites["North"].coordinates == (2.2, 16.5) and set(opened.events["site"]) == {"North", "South"}
    assert run(card, out, sites=None).resumed == 2 and written(out).equals(table)  # the stored table

    before = {name: (out / name).read_bytes() for name in ("run.json", "journal.jsonl", "kaleidoscope.csv")}
    assert replace_sites(out, second) == []
    after = written(out)
    assert set(after["site"]) == {"Nord", "South"} and after["start_time"].str[-6:].isin(("+00:00", "+03:00")).all()
    assert after.drop(columns=["site", "start_time"]).equals(table.drop(columns=["site", "start_time"]))
    assert {name: (out / name).read_bytes() for name in before} == before  # the same dates and clocks
    redecode(out, tmp_path / "again", threshold=0.0)
    assert written(tmp_path / "again").equals(after)
    redecode(out, tmp_path / "other", threshold=0.0, sites=first)
    assert written(tmp_path / "other").equals(table)


def test_a_wrong_table_changes_nothing(card, copy, tmp_path):
    out, table = tmp_path / "run", tmp_path / "sites.csv"
    table.write_text("site,folder\na,CampA\nb,card\n")
    with pytest.raises(LoxoError, match="matches line 2"):
        run(card, out, sites=table)
    assert not list(out.glob("*.csv"))  # before the work
    before = {path.name: path.read_bytes() for path in copy.iterdir() if path.is_file()}
    for change in (lambda: replace_sites(copy, table), lambda: redecode(copy, tmp_path / "again", sites=table)):
        with pytest.raises(LoxoError, match="matches line 2"):
            change()
    assert {path.name: path.read_bytes() for path in copy.iterdir() if path.is_file()} == before
    assert not (tmp_path / "again").exists()


def test_without_a_whole_journal_the_tables_keep_their_sites_with_a_note(copy, tmp_path):
    out, table = copy, tmp_path / "sites.csv"
    table.write_text("site,folder\nNorth,CampA\n")
    (out / "journal.jsonl").unlink()
    before = written(out)
    (note,) = replace_sites(out, table)
    assert "the journal is lost" in note and written(out).equals(before)
    assert set(read_run(out).events["site"]) == {"North", "CampB"}
