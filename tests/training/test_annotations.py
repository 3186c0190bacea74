"""Matching tables with recordings, the reported problems, and the split into training and validation."""

import numpy as np
import pytest
import soundfile

from loxo.errors import LoxoError
from loxo.events.table import empty_events, events_frame
from loxo.training.annotations import match_recordings
from loxo.training.split import split_annotations

CLASSES = ("rumble", "gunshot")
RATE = 100  # sample rate of the recordings in these tests
MODEL_RATE = 200


def write_recording(path, seconds=60):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(seconds * RATE, np.int16), RATE)
    return path


def event(recording, start=1.0, end=2.0, label="rumble", **more):
    return {"recording": recording, "start_s": start, "end_s": end, "label": label, **more}


def match(rows, roots, without=(), **options):
    events = events_frame(rows)
    events.attrs["without_events"] = list(without)
    return match_recordings(events, roots, classes=CLASSES, sample_rate=MODEL_RATE, **options)


def problem(annotations, *words):
    """The only problem that contains all these words."""
    found = [sentence for sentence in annotations.problems if all(word in sentence for word in words)]
    assert len(found) == 1, (words, annotations.problems)
    return found[0]


def test_recordings_are_found_by_name_in_any_folder(tmp_path):
    path = write_recording(tmp_path / "card 7" / "NN01_20180126_000000.FLAC")
    silent = write_recording(tmp_path / "nn02_20180127_000000.wav", 30)
    found = match(
        [
            event("L:\\ELP\\nn01_201801\\nn01_20180126_000000.wav", 1.25, 2.5),
            event("/x/nn01_20180126_000000.wav", 5, 6),
        ],
        tmp_path,
        without=["D:\\nn02_20180127_000000.wav"],
    )
    first, second = found.recordings
    assert (first.path, first.samples, first.site, first.day) == (str(path), 12000, "NN01", "2018-01-26")
    assert first.events == (("rumble", 250, 500), ("rumble", 1000, 1200)) and first.searched
    assert (second.path, second.samples, second.events) == (str(silent), 6000, ())
    assert found.counts() == {"rumble": 2, "gunshot": 0} and found.hours() == 90 / 3600
    assert found.problems == (problem(found, "No event has the label gunshot"),)


def test_names_that_are_not_found_are_renamed(tmp_path):
    write_recording(tmp_path / "dz_20110101_000000.wav")
    write_recording(tmp_path / "nn_1.wav")
    rows = [event("L:\\dzan_20110101_000000.wav"), event("nn_1.wav", label="gunshot")]
    assert "Give the folder" in problem(match(rows, tmp_path), "1 of 2", "dzan_2011")
    found = match(rows, tmp_path, rename={"DZAN": "dz"})
    assert found.counts() == {"rumble": 1, "gunshot": 1} and not found.problems
    write_recording(tmp_path / "dzan_20110101_000000.wav")
    exact = match(rows, tmp_path, rename={"dzan": "dz"})  # an existing name is not renamed
    assert [one.path.endswith("dzan_20110101_000000.wav") for one in exact.recordings] == [True, False]


def test_recordings_with_one_name_are_distinguished_by_their_folders_or_reported(tmp_path):
    for folder in ("a/nn01", "b/nn01", "b/nn02"):
        write_recording(tmp_path / folder / "1.wav")
    rows = [event("L:\\b\\NN02\\1.wav"), event("L:\\b\\nn01\\1.wav", label="gunshot"), event("L:\\nn01\\1.wav")]
    found = match(rows, [tmp_path])
    assert [one.path.split("/")[-3:] for one in found.recordings] == [["b", "nn01", "1.wav"], ["b", "nn02", "1.wav"]]
    assert str(tmp_path / "a/nn01/1.wav") in problem(found, "1 recording(s)", "more than once")
    problem(found, "1 of 3 recording(s)", "in no table")
    write_recording(tmp_path / "b/nn02/1.flac")
    again = match(rows, tmp_path)
    assert again.recordings[1].path.endswith("nn02/1.wav")  # the file with the suffix that the table names


def test_problems_are_reported_with_counts_and_examples(tmp_path):
    write_recording(tmp_path / "a.wav", 60)
    write_recording(tmp_path / "b.wav", 60)
    (tmp_path / "c.wav").write_text("<html>not found</html>")
    rows = [
        *(event("a.wav", start, start + 4, "Rumble") for start in (1, 1, 58, 60, 70, 80, 86390)),
        event("a.wav", 5, 5),
        *(event("a.wav", 20 + k, 21 + k, "gorilla") for k in range(3)),
        *(event("a.wav", 30 + k, 31 + k, label) for k, label in enumerate(("Roar", "bark", "cough", ""))),
        event("b.wav", 1, 2, "SHOT"),
        event("b.wav", 58, 60.04, "shot"),
        event("c.wav"),
        *(event(f"lost {k}.wav") for k in range(5)),
    ]
    found = match(rows, tmp_path, labels={"shot": "gunshot"})
    assert found.counts() == {"rumble": 2, "gunshot": 2}
    first, second = found.recordings
    assert first.events == (("rumble", 200, 1000), ("rumble", 11600, 12000)) and len(first.other_labels) == 7
    assert second.events[1] == ("gunshot", 11600, 12000)
    expected = {
        ("5 of 8 recording(s)", "5 event(s)", "lost 0.wav; lost 1.wav; lost 2.wav; ..."),
        ("1 recording(s) cannot be read", "web page"),
        ("4 event(s) start after the end", "60 s of a.wav, which is 60.0 s long; 70 s", "..."),
        ("1 event(s) end after the end", "58 to 62 s of a.wav"),
        ("1 event(s) have no length", "5 s of a.wav"),
        ("6 event(s) have labels that are not a class (rumble, gunshot): 'gorilla' (3), ", "..."),
        ("1 event(s) have no label",),
    }
    for words in expected:
        problem(found, *words)
    assert len(found.problems) == len(expected)


def test_marginal_events_are_kept_ignored_or_dropped(tmp_path):
    write_recording(tmp_path / "a.wav")
    rows = [event("a.wav", 1, 2, marginal=False), event("a.wav", 5, 6, marginal=True)]
    kept, ignored, dropped = (match(rows, tmp_path, marginal=how).recordings[0] for how in ("keep", "ignore", "drop"))
    assert len(kept.events) == 2 and not kept.ignored
    assert ignored.events == dropped.events == (("rumble", 200, 400),)
    assert ignored.ignored == (("rumble", 1000, 1200),) and not dropped.ignored
    with pytest.raises(LoxoError, match="keep, ignore, drop"):
        match(rows, tmp_path, marginal="perhaps")


def test_hard_negatives_are_matched_like_events(tmp_path):
    write_recording(tmp_path / "dz_1.wav")
    write_recording(tmp_path / "b.wav")
    hard = events_frame([event("dzan_1.wav", 8, 9, "engine"), event("b.wav", 3, 4, "")])
    found = match([event("dzan_1.wav")], tmp_path, rename={"dzan": "dz"}, hard_negatives=hard)
    b, a = found.recordings
    assert (a.hard_negatives, a.searched, len(a.events)) == (((1600, 1800),), True, 1)
    assert (b.hard_negatives, b.searched, len(b.events)) == (((600, 800),), False, 0)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([event("lost.wav")], {}, r"None of the recordings in the tables can be used.*lost\.wav"),
        ([event("a.wav", label="bark")], {}, "contain no event of the class.* rumble, gunshot.*'bark' \\(1\\)"),
        (
            [event("a.wav")],
            {"labels": {"RUM": "rumbel"}},
            "the class 'rumbel', but the model's classes are rumble",
        ),
        ([], {}, "no events and name no recordings"),
    ],
)
def test_tables_without_usable_events_are_an_error(tmp_path, rows, options, message):
    write_recording(tmp_path / "a.wav")
    with pytest.raises(LoxoError, match=message):
        match(rows, tmp_path, **options)


def test_invalid_and_empty_tables_are_errors(tmp_path):
    events = events_frame([event("a.wav")]).assign(end_s=0.5)
    with pytest.raises(LoxoError, match="ends before it starts"):
        match_recordings(events, tmp_path, classes=CLASSES, sample_rate=MODEL_RATE)
    with pytest.raises(LoxoError, match="nothing to train on"):
        match_recordings(empty_events(), tmp_path, classes=CLASSES, sample_rate=MODEL_RATE)


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    """Six sites with two days each. Two sites have shots, one site has no event."""
    folder = tmp_path_factory.mktemp("survey")
    rows, without = [], []
    for site in range(6):
        for day in (1, 2):
            path = write_recording(folder / f"nn0{site}_2020010{day}_000000.wav")
            if site == 5:
                without.append(path.name)
                continue
            rows += [event(path.name, 5.0 * k, 5.0 * k + 2) for k in range(1 + site)]
            rows += [event(path.name, 50, 51, "gunshot")] if site in (1, 2) else []
    return match(rows, folder, without=without)


@pytest.mark.parametrize("by", ["recording", "site", "day"])
def test_a_split_never_divides_a_recording_site_or_day(survey, by):
    for seed in range(5):
        training, validation = split_annotations(survey, 0.3, by=by, seed=seed)
        assert sorted((*training.recordings, *validation.recordings), key=lambda one: one.path) == [*survey.recordings]
        key = {"recording": "path", "site": "site", "day": "day"}[by]
        assert not {getattr(one, key) for one in training.recordings} & {
            getattr(one, key) for one in validation.recordings
        }
        assert all(training.counts().values()) and all(validation.counts().values())
        assert validation.hours() / survey.hours() == pytest.approx(0.5 if by == "day" else 0.3, abs=0.1)
        again = split_annotations(survey, 0.3, by=by, seed=seed)
        assert [one.path for one in again[1].recordings] == [one.path for one in validation.recordings]


def test_the_split_depends_on_the_seed(survey):
    splits = {tuple(one.path for one in split_annotations(survey, 0.3, seed=seed)[1].recordings) for seed in range(8)}
    assert len(splits) > 3


def test_an_impossible_split_is_an_error(tmp_path, survey):
    write_recording(tmp_path / "nn01_20200101_000000.wav")
    write_recording(tmp_path / "nn01_20200102_000000.wav")
    rows = [event("nn01_20200101_000000.wav")]
    both = match(rows, tmp_path, without=["nn01_20200102_000000.wav"])
    with pytest.raises(LoxoError, match=r"All 2 recording\(s\) are of one site.* Split by recording"):
        split_annotations(both, 0.5, by="site")
    with pytest.raises(LoxoError, match=r"for (training|validation) contain no event of rumble, gunshot"):
        split_annotations(both, 0.5)
    with pytest.raises(LoxoError, match="by 'clip'"):
        split_annotations(survey, 0.5, by="clip")
