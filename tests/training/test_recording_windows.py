"""Windows from long recordings: position, content, and that they depend only on seed and number."""

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from loxo.audio.recording import RecordingError, read
from loxo.engine.architectures import HTSATConfig
from loxo.errors import LoxoError
from loxo.events.table import events_frame
from loxo.training.annotations import match_recordings
from loxo.training.recording_windows import FixedWindows, RecordingWindows
from loxo.training.sources import clip_level_labels
from loxo.training.targets import IGNORED, PAUSE, SOMEWHERE, bin_targets

CONFIG = HTSATConfig.preset("default")
SIZE, RATE, STEP = CONFIG.window_samples, CONFIG.sample_rate, CONFIG.step_samples
WINDOW_S = SIZE / RATE


def write_recording(path, seconds, rate=RATE, seed=0, channels=1):
    samples = np.random.default_rng(seed).normal(0, 0.1, (round(seconds * rate), channels))
    soundfile.write(path, samples, rate)


def event(recording, start, end, label="rumble", **more):
    return {"recording": recording, "start_s": start, "end_s": end, "label": label, **more}


def match(folder, rows, without=(), **options):
    events = events_frame(rows)
    events.attrs["without_events"] = list(without)
    return match_recordings(events, folder, classes=CONFIG.classes, sample_rate=RATE, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    write_recording(folder / "a.wav", 400)
    write_recording(folder / "b.flac", 200, rate=8000, seed=1, channels=2)
    write_recording(folder / "c.wav", 100, seed=2)
    write_recording(folder / "short.wav", 5, seed=3)
    return folder


@pytest.fixture(scope="module")
def annotations(folder):
    """a: many rumbles; b: one shot and a bark; c: searched, no events; short: shorter than a window."""
    rows = [event("a.wav", start, start + 6) for start in range(20, 120, 10)]
    rows += [event("a.wav", 0, 3), event("a.wav", 397, 400)]
    rows += [event("b.wav", 100, 100.4, "gunshot"), event("b.wav", 102, 103), event("b.wav", 150, 152, "bark")]
    hard = events_frame([event("c.wav", 50, 52, "")])
    return match(folder, [*rows, event("short.wav", 1, 3)], without=["c.wav"], hard_negatives=hard)


def recording_windows(annotations, **options):
    return RecordingWindows(CONFIG, annotations, 400, 7, **options)


def test_a_window_depends_only_on_seed_and_number(annotations):
    one, other = recording_windows(annotations), recording_windows(annotations)
    waveform, targets = one[5]
    assert waveform.dtype == targets.dtype == torch.float32 and len(one) == 400
    assert waveform.shape == (SIZE,) and targets.shape == (len(CONFIG.rows), CONFIG.steps)
    again = other[5]
    assert torch.equal(waveform, again[0]) and torch.equal(targets, again[1])
    draws = {one.draw(index) for index in range(50)}
    assert len(draws) > 45 and draws != {
        RecordingWindows(CONFIG, annotations, 400, 8).draw(index) for index in range(50)
    }


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on a single core
def test_loader_processes_do_not_change_the_windows(annotations):
    windows = RecordingWindows(CONFIG, annotations, 8, 7)
    alone = [windows[index] for index in range(8)]
    loader = DataLoader(windows, batch_size=2, num_workers=2, multiprocessing_context="spawn")
    for k, (waveforms, targets) in enumerate(loader):
        for n in range(2):
            assert torch.equal(waveforms[n], alone[2 * k + n][0]) and torch.equal(targets[n], alone[2 * k + n][1])


def test_a_window_has_the_samples_of_the_recording(annotations, folder):
    windows = recording_windows(annotations)
    for number, name in enumerate(("a.wav", "b.flac", "c.wav", "short.wav")):
        start = 0 if name == "short.wav" else 12345
        expected = read(folder / name, RATE, start / RATE, WINDOW_S)
        waveform = windows.waveform(number, start).numpy()
        np.testing.assert_allclose(waveform[: len(expected)], expected, atol=1e-6)
        assert (waveform[len(expected) :] == 0).all()
    left = RecordingWindows(CONFIG, annotations, 1, 7, channel=0).waveform(1, 12345).numpy()
    np.testing.assert_allclose(left, read(folder / "b.flac", RATE, 12345 / RATE, WINDOW_S, channel=0), atol=1e-6)
    assert not np.allclose(left, windows.waveform(1, 12345).numpy(), atol=1e-3)


def test_a_window_has_the_targets_of_all_classes_exact_to_the_bin(annotations):
    windows = recording_windows(annotations, bins=1024, edges="hard")
    targets = windows.targets(1, 95 * RATE).numpy()  # from 95 s on: shot at 5 to 5.4 s, rumble at 7 to 8 s
    for k, (start, end) in enumerate([(7, 8), (5, 5.4)]):
        covered = np.flatnonzero(targets[k]) * WINDOW_S / 1024
        assert covered[0] == pytest.approx(start, abs=WINDOW_S / 1024)
        assert covered[-1] + WINDOW_S / 1024 == pytest.approx(end, abs=WINDOW_S / 1024)
    spans = [("gunshot", 5 * RATE, round(5.4 * RATE)), ("rumble", 7 * RATE, 8 * RATE)]
    same = windows.targets(1, 95 * RATE, bins=10, edges="soft").numpy()
    assert np.array_equal(same, bin_targets(spans, CONFIG.classes, 10, SIZE, "soft"))


def test_onsets_offsets_and_cut_off_events_all_occur(folder):
    rumble = match(folder, [event("a.wav", 200, 206)])
    windows = recording_windows(rumble, background_share=0.0)
    starts = np.array([windows.draw(index)[1] for index in range(400)])
    start, stop = 200 * RATE - starts, 206 * RATE - starts  # of the event in the window
    assert (stop >= STEP).all() and (start <= SIZE - STEP).all()  # at least one step is in every window
    assert (start < 0).sum() > 30 and (stop > SIZE).sum() > 30 and ((start >= 0) & (stop <= SIZE)).sum() > 150
    assert start.min() < STEP - 5.5 * RATE and start.max() > SIZE - STEP - 0.5 * RATE
    shares = np.histogram(start, 5, (STEP - 6 * RATE, SIZE - STEP))[0] / 400
    assert (abs(shares - 0.2) < 0.07).all()  # uniform
    long = recording_windows(match(folder, [event("a.wav", 100, 200)]), background_share=0.0)
    assert all((long.targets(*long.draw(index)) > 0).any() for index in range(50))


def test_classes_backgrounds_and_hard_negatives_have_their_shares(annotations):
    windows = recording_windows(annotations, background_share=0.4, hard_negative_share=0.1)
    counts = {"nothing": 0, "rumble": 0, "gunshot": 0, "hard": 0}
    for index in range(400):
        number, start = windows.draw(index)
        labels = windows.targets(number, start).amax(1) > 0
        counts["nothing"] += not labels.any()
        counts["hard"] += number == 2 and start < 52 * RATE and start + SIZE > 50 * RATE
        counts["rumble"] += bool(labels[0])
        counts["gunshot"] += bool(labels[1])
    # The classes are equally frequent, although there are one shot and 14 rumbles.
    assert 160 <= counts["nothing"] <= 240 and 80 <= counts["gunshot"] <= 130
    assert counts["hard"] >= 30


def test_backgrounds_overlap_no_label_and_come_from_all_recordings(annotations):
    windows = recording_windows(annotations, background_share=1.0)
    drawn = [windows.draw(index) for index in range(400)]
    for number, start in drawn:
        one = windows.recordings[number]
        for first, stop in [*((a, b) for _, a, b in one.events), *one.other_labels]:
            assert start >= stop or start + SIZE <= first
        assert 0 <= start <= one.samples - SIZE
    counts = np.bincount([number for number, _ in drawn], minlength=4)
    assert counts[3] == 0  # the short recording is labelled completely
    free = np.array([397 - 116, 100 + 47 + 48, 100])  # seconds without labels, in spans as long as a window
    np.testing.assert_allclose(counts[:3] / 400, free / free.sum(), atol=0.08)


def test_backgrounds_come_only_from_searched_recordings(folder):
    hard = events_frame([event("c.wav", 50, 52)])
    windows = recording_windows(match(folder, [event("a.wav", 1, 2)], hard_negatives=hard), background_share=1.0)
    assert {windows.draw(index)[0] for index in range(100)} == {0}


def test_ignored_marginal_events_are_excluded_from_the_loss(folder):
    rows = [event("a.wav", 100, 110, marginal=False), event("a.wav", 105, 115, marginal=True)]
    windows = recording_windows(match(folder, rows, marginal="ignore"), bins=1024)
    targets = windows.targets(0, 98 * RATE)
    at = [round(second / WINDOW_S * 1024) for second in (1, 3, 8, 14, 19)]
    assert targets[0, at].tolist() == [0, 1, 1, IGNORED, 0] and (targets[1] == 0).all()


def test_an_event_that_covers_its_recording_supervises_the_clip_and_not_its_steps(tmp_path):
    for seed, name in enumerate(("clip.wav", "other.wav", "quiet.wav")):
        write_recording(tmp_path / name, 4, seed=seed)
    rows = [event("clip.wav", 0, 3.995, "gunshot"), event("other.wav", 1, 2, "gunshot")]
    found = match(tmp_path, rows, without=["quiet.wav"])
    steps = round(4 / (STEP / RATE))
    targets = FixedWindows(CONFIG, found, 4, 0).targets(0, 0)
    assert (targets[1, :steps] == SOMEWHERE).all() and (targets[1, steps + 1 :] == 0).all() and (targets[0] == 0).all()
    as_event = FixedWindows(CONFIG, found, 4, 0, clip_level="event").targets(0, 0)
    assert (as_event[1, : steps - 1] == 1).all()
    windows = [target for _, target in (RecordingWindows(CONFIG, found, 60, 3)[k] for k in range(60))]
    whole = [target for target in windows if (target[1] == SOMEWHERE).any()]
    assert whole and {float(value) for target in windows for value in target.unique()} == {0, 1, IGNORED, SOMEWHERE}
    assert all((target[1] == SOMEWHERE).sum() > steps // 2 for target in whole)  # a clip that is cut is IGNORED


def test_only_clip_level_labels_that_fit_into_a_window_are_counted(folder, annotations):
    whole = match(folder, [event("short.wav", 0, 5), event("c.wav", 0, 100), event("a.wav", 3, 9)])
    assert str(clip_level_labels((whole, annotations), CONFIG)).startswith("1 event(s) cover their whole recording")
    assert clip_level_labels((annotations, annotations), CONFIG) is None


def test_training_windows_have_a_pause_before_an_onset_within_a_call(folder):
    overlapping = match(folder, [event("a.wav", 100, 106), event("a.wav", 104, 110)])
    targets = recording_windows(overlapping, bins=1024, pause=0.1).targets(0, 98 * RATE)
    at = [round(second / WINDOW_S * 1024) for second in (5.5, 5.85, 6.1)]  # pause of 0.3 s before second 6
    assert targets[0, at].tolist() == [1, PAUSE, 1]
    assert (FixedWindows(CONFIG, overlapping, 4, seed=1).targets(0, 98 * RATE) != PAUSE).all()


def test_fixed_windows_are_reproducible_and_contain_every_class(annotations):
    fixed = FixedWindows(CONFIG, annotations, 12, seed=1)
    assert fixed.windows == FixedWindows(CONFIG, annotations, 12, seed=1, bins=10).windows and len(fixed) <= 12
    labels = torch.stack([fixed[index][1].amax(1) > 0 for index in range(len(fixed))])
    assert labels.any(0).all() and 4 <= (~labels.any(1)).sum() <= 6
    assert torch.equal(fixed.window_targets(3), fixed[3][1]) and fixed.window_targets(3, 10, "hard").shape == (2, 10)
    assert len(FixedWindows(CONFIG, annotations, 1000, seed=1, background_share=0.0)) >= 6


def test_windows_of_a_damaged_recording_are_replaced_and_logged_once(folder, tmp_path, caplog):
    write_recording(tmp_path / "a.flac", 80)
    write_recording(tmp_path / "b.flac", 80, seed=5)
    annotations = match(tmp_path, [event("a.wav", 70, 75)], without=["b.wav"])
    data = bytearray((tmp_path / "a.flac").read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    (tmp_path / "a.flac").write_bytes(data)
    windows = recording_windows(annotations, background_share=0.5)
    broken = [index for index in range(40) if windows.draw(index)[0] == 0 and windows.draw(index)[1] > 25 * RATE]
    first = [windows[index][0] for index in broken[:2]]
    assert len([record for record in caplog.records if "decoding stopped" in record.message]) == 1
    assert all(
        torch.equal(one, recording_windows(annotations)[index][0]) for one, index in zip(first, broken, strict=False)
    )
    for name in ("a.flac", "b.flac"):
        (tmp_path / name).unlink()
    with pytest.raises(RecordingError, match=r"[ab]\.flac"):
        windows[broken[0]]


def test_windows_that_cannot_be_drawn_are_an_error(folder, annotations):
    with pytest.raises(LoxoError, match="must be between 0 and 1"):
        recording_windows(annotations, background_share=0.8, hard_negative_share=0.3)
    full = match(folder, [event("a.wav", 10 * k, 10 * k + 9) for k in range(40)])
    with pytest.raises(LoxoError, match=r"span of 20\.5 s .* background_share to 0"):
        recording_windows(full)
    with pytest.raises(LoxoError, match="no hard negatives"):
        recording_windows(full, background_share=0.0, hard_negative_share=0.1)
    with pytest.raises(LoxoError, match=r"at 4000 Hz, the model is .* at 32000 Hz"):
        RecordingWindows(HTSATConfig.preset("audioset", classes=CONFIG.classes), full, 1, 1)


def test_an_event_in_two_tables_counts_once(folder):
    twice = match(folder, [event("a.wav", 1, 2), event("/elsewhere/a.wav", 1, 2)])
    assert twice.recordings[0].events == (("rumble", RATE, 2 * RATE),)


def test_short_recordings_are_joined_with_their_events(tmp_path):
    """Each clip is noise at its own level, with a loud tone where its event is: the targets lie on the tones."""
    rows = []
    for k in range(4):
        sound = np.random.default_rng(k).normal(0, 0.001 * 4**k, 5 * RATE)
        if k % 2:
            sound[RATE : 2 * RATE] += 0.02 * 4**k * np.sin(2 * np.pi * 400 * np.arange(RATE) / RATE)
            rows.append(event(f"{k}.wav", 1, 2, "gunshot"))
        soundfile.write(tmp_path / f"{k}.wav", sound, RATE, "FLOAT")
    clips = match(tmp_path, rows, without=["0.wav", "2.wav"])
    windows = RecordingWindows(CONFIG, clips, 40, 7)
    joined = [
        (waveform.numpy(), targets[1].numpy())
        for waveform, targets in map(windows.__getitem__, range(40))
        if waveform[-RATE:].any()
    ]
    assert 20 <= len(joined) < 40
    loud = 0
    for waveform, targets in joined:
        power = np.square(waveform).reshape(-1, STEP).mean(1)
        noise = np.median(power)
        assert ((power > 10 * noise) != (targets == 1)).sum() <= 8  # a step at each border
        quiet = power[(targets == 0) & (power > 0)]
        assert np.median(quiet) / noise == pytest.approx(1, rel=0.2) and quiet.min() > 0.2 * noise
        loud += int((targets == 1).any())
    assert loud > 15
    again = RecordingWindows(CONFIG, clips, 40, 7)[3]
    assert torch.equal(again[0], windows[3][0]) and torch.equal(again[1], windows[3][1])
