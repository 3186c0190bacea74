"""The same command goes on after any damage in the run folder, and repeats only what is damaged."""

import io
import json
import os
import shutil
import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest
from fakes import CHUNK_S, FakeModel, write
from typer.testing import CliRunner

from flip_bits import flip_and_resume
from kill_detection import check_tidy, kill_at_events, results
from loxo.cli.app import app
from loxo.errors import LoxoError
from loxo.files import checksum, remove_drafts
from loxo.runs import npz
from loxo.runs.folder import RunFolder
from loxo.runs.npz import npz_content, read_npz
from loxo.runs.record import read_record
from loxo.runs.scores import read_score_file
from loxo.survey.redecode import redecode
from loxo.survey.survey import survey

SHARD = CHUNK_S / 60


def run(card, out, load=FakeModel, **options):
    return survey([card], "fake", out, load=load, keep_scores=True, shard_minutes=SHARD, **options)


def notes(summary):
    """All notes but the last one, on the sites of these recordings."""
    *others, of_sites = summary.notes
    assert "Each folder is a site" in of_sites
    return others


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Recordings and a finished run of them."""
    folder = tmp_path_factory.mktemp("resume")
    for k, seconds in enumerate((6, 2.5 * CHUNK_S, 4)):
        write(folder / "card" / f"{k}.wav", seconds, seed=k)
    run(folder / "card", folder / "run")
    return folder


@pytest.fixture
def copy(done, tmp_path):
    """A copy of the run, to be damaged."""
    return Path(shutil.copytree(done / "run", tmp_path / "run"))


def test_a_run_that_is_killed_at_file_system_events_resumes_to_the_same_bytes(tmp_path):
    assert kill_at_events(tmp_path, seed=1, every=55) >= 3


def test_flipped_bits_never_become_a_result(tmp_path):
    assert flip_and_resume(tmp_path, flips=10, seed=3).total() == 10


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1, 2]", b'{"status": "finished", "parameters": {}}'])
def test_a_run_without_its_record_resumes(done, copy, content):
    (copy / "run.json").unlink()
    if content is not None:
        (copy / "run.json").write_bytes(content)
    with pytest.raises(LoxoError, match=r"threshold None is now 0\.9"):  # the journal contains the parameters
        run(done / "card", copy, threshold=0.9)
    assert run(done / "card", copy).resumed == 3
    assert results(copy) == results(done / "run") and read_record(copy) == read_record(done / "run")


def test_a_run_without_record_and_parameters_is_analysed_again(done, copy):
    lines = (copy / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (copy / "journal.jsonl").write_bytes(b"".join(lines[1:]))
    (copy / "run.json").unlink()
    assert run(done / "card", copy).resumed == 0
    assert results(copy) == results(done / "run")
    assert (copy / "journal.jsonl").read_bytes() == b"".join(lines)


@pytest.mark.parametrize("name", ["journal.jsonl", "run.json"])
def test_a_run_that_was_stopped_in_its_first_moment_resumes(done, tmp_path, name):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.json.123.tmp").touch()
    (tmp_path / "run" / "journal.jsonl").touch()
    if name == "run.json":
        shutil.copy(done / "run" / name, tmp_path / "run")
    assert run(done / "card", tmp_path / "run").resumed == 0
    assert results(tmp_path / "run") == results(done / "run")
    check_tidy(tmp_path / "run")


def test_a_folder_with_another_journal_is_refused(done, tmp_path):
    (tmp_path / "journal.jsonl").write_text("Dear diary\n")
    with pytest.raises(LoxoError, match="no run of Loxo"):
        run(done / "card", tmp_path)
    assert names(tmp_path) == ["journal.jsonl"]


@pytest.mark.parametrize("damage", [b"", b"{}", b"[" * 200_000, b"\xff\x00", b'{"parameters": 1}'])
def test_a_damaged_line_of_the_journal_costs_one_recording(done, copy, damage):
    lines = (copy / "journal.jsonl").read_bytes().splitlines(keepends=True)
    lines[2] = damage + b"\n"
    (copy / "journal.jsonl").write_bytes(b"".join(lines))
    summary = redecode(copy, copy.parent / "decoded")
    assert summary.recordings == 2 and [str(path) for path, _ in summary.problems] == [str(done / "card/1.wav")]
    summary = run(done / "card", copy)
    assert summary.resumed == 2 and results(copy) == results(done / "run")
    (note,) = notes(summary)
    assert "1 line is damaged" in note and not summary.problems


def test_a_journal_without_checksums_is_read_and_its_wrong_values_are_not(done, copy):
    lines = [json.loads(line) for line in (copy / "journal.jsonl").read_bytes().splitlines()]
    for values in lines:
        del values["checksum"]
        values.pop("checksums", None)
    former = [json.dumps(values).encode() for values in lines[1:]]
    (copy / "journal.jsonl").write_bytes(b"\n".join(former) + b"\n")
    assert run(done / "card", copy).resumed == 3
    assert results(copy) == results(done / "run")
    former[0] = former[0].replace(b'"rows": [["', b'"rows": [["x')
    assert b'[["x' in former[0]
    (copy / "journal.jsonl").write_bytes(b"\n".join(former) + b"\n")
    assert run(done / "card", copy).resumed == 2
    assert results(copy) == results(done / "run")


def test_an_edited_table_is_kept_and_the_summary_has_a_note(done, copy):
    table = copy / "tables" / "1.selections.txt"
    for number, name in enumerate(("1.selections.txt", "1.selections.txt.2")):
        edited = table.read_bytes().replace(b"rumble", b"RUMBLE")
        table.write_bytes(edited)
        summary = run(done / "card", copy)
        assert summary.resumed == 3 and results(copy) == results(done / "run"), number
        assert (copy / "changed/tables" / name).read_bytes() == edited
        (note,) = notes(summary)
        assert str(table) in note and not summary.problems
    assert notes(run(done / "card", copy)) == []


def test_an_edited_table_stays_while_its_format_is_not_requested(done, copy):
    table = copy / "tables" / "1.selections.txt"
    table.write_bytes(b"edited")
    assert notes(run(done / "card", copy, formats="csv")) == [] and table.read_bytes() == b"edited"


def test_scores_that_changed_are_computed_again_and_decode_does_the_others(done, copy):
    path = copy / "scores" / "0.npz"
    scores = read_score_file(path)
    path.write_bytes(npz_content({"hop_s": scores.hop_s, "rumble": np.zeros(3, np.float16)}))
    summary = redecode(copy, copy.parent / "decoded")
    assert summary.recordings == 2 and "its rows are" in summary.problems[0][1]
    assert run(done / "card", copy).resumed == 2 and results(copy) == results(done / "run")
    again = redecode(copy, copy.parent / "decoded")
    assert (again.recordings, again.resumed, again.problems) == (3, 2, [])


def test_the_commands_name_a_damaged_score_file_and_end_with_1(done, copy):
    path = copy / "scores" / "2.npz"
    path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    result = CliRunner().invoke(app, ["decode", str(copy), "--out", str(copy.parent / "o[/x]")])
    assert result.exit_code == 1 and f"{path}: " in result.output and "2 recordings" in result.output
    assert str(copy.parent / "o[/x]") in result.output


def damaged_archives():
    whole = npz_content({"hop_s": np.float64(1), "rumble": np.zeros(10, np.float16)})
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**11,)})
    bomb, claim, plain = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rumble.npy", bytes(3 << 20))
    with zipfile.ZipFile(claim, "w") as archive:
        archive.writestr("hop_s.npy", header.getvalue())
    np.savez(plain, hop_s=np.array(["x"], object), allow_pickle=True)
    return {
        "empty": b"",
        "half": whole[: len(whole) // 2],
        "without its checksum's end": whole[:-1],
        "another comment": whole[:-8] + b"00000000",
        "large": bomb.getvalue(),
        "a length of 1e11": claim.getvalue(),
        "objects": plain.getvalue(),
        "method": whole[:8] + b"\x63" + whole[9:],
    }


@pytest.mark.parametrize("kind", damaged_archives())
def test_a_damaged_score_file_is_one_sentence(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(npz, "MAX_BYTES", 1 << 20)
    path = tmp_path / "a.npz"
    path.write_bytes(damaged_archives()[kind])
    with pytest.raises(LoxoError, match="damaged") as caught:
        read_score_file(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_no_more_is_decompressed_than_an_archive_states(tmp_path):
    """An archive that states 100 bytes and contains a megabyte."""
    path, content = tmp_path / "a.npz", io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(1 << 20))
    path.write_bytes(content.getvalue().replace((1 << 20).to_bytes(4, "little"), (100).to_bytes(4, "little")))
    with pytest.raises(zipfile.BadZipFile, match="CRC"):
        read_npz(path)


def test_numpy_reads_a_file_with_a_checksum(tmp_path):
    arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([], np.str_), "c": np.asfortranarray(np.ones((2, 3)))}
    path = tmp_path / "a.npz"
    path.write_bytes(npz_content(arrays))
    with np.load(path) as loaded:
        for name, values in read_npz(path).items():
            np.testing.assert_array_equal(values, loaded[name])
            np.testing.assert_array_equal(values, arrays[name])
    assert path.read_bytes()[-8:].decode() == checksum(path.read_bytes()[:-8])


def test_only_drafts_are_removed(tmp_path):
    kept = [".a.txt.tmp", ".a.txt.x.tmp", "a.1.tmp", ".b.txt.1.tmp", "a.txt"]
    for name in (*kept, ".a.txt.1.tmp"):
        (tmp_path / name).touch()
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / ".a.txt.1.tmp").touch()
    remove_drafts(tmp_path, {"a.txt"})
    assert names(tmp_path) == sorted([*kept, "below"]) and names(tmp_path / "below")
    remove_drafts(tmp_path)
    assert not names(tmp_path / "below") and (tmp_path / "a.txt").exists()


@pytest.fixture
def ctrl_c():
    """Ctrl-C interrupts, also where the tests were started in the background: shells then let it be ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_repeated_interruptions_leave_an_interrupted_run(done, tmp_path, monkeypatch):
    """Ctrl-C three times: twice while the folder is being closed."""

    sent = []

    def interrupt(progress):
        if progress.finished and not sent:
            sent.append(os.kill(os.getpid(), signal.SIGINT))

    def close(*arguments):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        return whole_close(*arguments)

    whole_close = RunFolder.close
    monkeypatch.setattr(RunFolder, "close", close)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(done / "card", tmp_path / "run", on_progress=interrupt)
    assert read_record(tmp_path / "run").status == "interrupted" and (tmp_path / "run/events.csv").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interruption_before_the_first_recording_leaves_an_interrupted_run(tmp_path):
    with pytest.raises(KeyboardInterrupt), RunFolder(tmp_path / "run", {"formats": ["raven"]}, []):
        raise KeyboardInterrupt
    assert read_record(tmp_path / "run").status == "interrupted"
