"""What the page shows, and how it is used: by mouse, touch and keyboard, on small and large screens, dark and light."""

import base64
import io
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
import soundfile
from fakerun import NAMES, SECONDS, make_run
from reviewpage import opened, saved, served, shown

from loxo import read_raven
from loxo.audio.roots import remember
from loxo.report.report import report

RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "data" / "recordings"
EMPTY = "nn03c_20180127_060000"  # a recording without an event


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    """A run with a third recording, in which nothing was found."""
    run = make_run(tmp_path_factory.mktemp("page"))
    recordings = run.parent / "recordings"
    shutil.copy(recordings / f"{NAMES[0]}.wav", recordings / f"{EMPTY}.wav")
    record = json.loads((run / "run.json").read_text())
    item = record["recordings"][0] | {"recording": str(recordings / f"{EMPTY}.wav"), "events": 0, "table": None}
    record["recordings"].append(item)
    (run / "run.json").write_text(json.dumps(record))
    remember(recordings.glob("*.wav"))
    return run


@pytest.fixture
def run(original, tmp_path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "march"))


@pytest.fixture(scope="module")
def reading(original, tmp_path_factory):
    """The served run of tests that change nothing."""
    with served(Path(shutil.copytree(original, tmp_path_factory.mktemp("reading") / "march"))) as page:
        yield page


def range_of(page) -> tuple[float, float]:
    first, last = page.locator("body").get_attribute("data-look").split("-")
    return float(first), float(last)


def looked(page, act) -> tuple[float, float]:
    """The part that is shown after an action that moves the picture."""
    page.evaluate("delete document.body.dataset.look")
    act()
    page.wait_for_selector("body[data-look]")
    return range_of(page)


def texts(page) -> set[str]:
    """The texts of the canvases."""
    page.evaluate("window.texts.clear(); window.dispatchEvent(new Event('resize'))")
    box = page.viewport_size
    page.set_viewport_size({"width": box["width"] + 1, "height": box["height"] + 1})
    for _ in range(100):
        page.wait_for_timeout(50)  # the page forbids to evaluate text, which wait_for_function does
        if page.evaluate("window.texts.size") > 5:
            break
    return set(page.evaluate("[...window.texts]"))


def browse(page, name: str) -> None:
    page.locator("#recordings-button").click()
    page.locator("#recordings input").fill(name)
    page.evaluate("delete document.body.dataset.look")
    page.locator("#recordings tbody button").first.click()
    page.wait_for_selector("body[data-look]")


def middle(page) -> tuple[float, float]:
    box = page.locator("#view").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 3


def test_a_recording_without_an_event_is_opened_paged_zoomed_and_dragged(browser, reading):
    with opened(browser, reading) as page:
        browse(page, EMPTY)
        assert range_of(page) == (0, 30) and page.locator("#when").inner_text().startswith(EMPTY)
        assert "no" not in page.locator("#others").inner_text() and page.locator("#what").inner_text() == "nn03c"
        assert looked(page, lambda: page.keyboard.press("PageDown")) == (30, 60)
        assert looked(page, lambda: page.locator("#later-button").click()) == (60, 90)
        assert looked(page, lambda: page.keyboard.press("ArrowLeft")) == (45, 75)
        assert looked(page, lambda: page.keyboard.press("End")) == (SECONDS - 30, SECONDS)
        assert looked(page, lambda: page.keyboard.press("Home")) == (0, 30)
        assert looked(page, lambda: page.locator("#in-button").click()) == (7.5, 22.5)
        assert looked(page, lambda: page.keyboard.press("-")) == (0, 30)
        assert looked(page, lambda: page.locator('[data-context="Infinity"]').click()) == (0, SECONDS)
        assert page.locator("#overview").is_hidden()  # the picture shows the same
        assert looked(page, lambda: page.locator('[data-context="10"]').click()) == (70, 80)
        page.mouse.move(*middle(page))
        first, last = looked(page, lambda: page.mouse.wheel(0, 120))
        assert first < 70 and last > 80
        first, _ = looked(page, lambda: page.mouse.wheel(300, 0))
        page.mouse.down()
        x, y = middle(page)
        dragged = looked(page, lambda: page.mouse.move(x - 200, y, steps=3))
        page.mouse.up()
        assert dragged[0] > first
        box = page.locator("#overview").bounding_box()
        first, last = looked(page, lambda: page.mouse.click(box["x"] + box["width"] / 2, box["y"] + 8))
        assert (first + last) / 2 == pytest.approx(SECONDS / 2, abs=1)
        page.locator("#overview").focus()
        assert looked(page, lambda: page.keyboard.press("Home"))[0] == 0
        page.reload()
        page.wait_for_selector("body[data-look]")
        assert range_of(page)[0] == 0 and page.locator("#when").inner_text().startswith(EMPTY)
        page.keyboard.press("Escape")
        shown(page, 0)


def test_a_random_stretch_is_searched_and_the_recall_is_in_the_results(browser, run):
    with served(run) as page_of, opened(browser, page_of) as page:
        session = page_of.session
        page.keyboard.press("c")
        page.locator("#stretch-text").filter(has_text="0 searched so far").wait_for()
        page.wait_for_selector("body[data-look]")
        stretch = session.recordings.stretches[0]
        page.locator("#when").filter(has_text=Path(session.sources[stretch.source]).name).wait_for()
        listed = session.recordings.around(stretch.source, stretch.start_s, stretch.end_s)["events"]
        actions = 0
        for event in listed:  # decide on what is listed
            page.keyboard.press("j")
            page.wait_for_selector("#decide [data-verdict=yes]:enabled")
            page.keyboard.press("y")
            actions += 1
            saved(page, actions)
            assert event["label"] in ("rumble", "gunshot")
        page.keyboard.press("d")  # and draw what is missed
        page.keyboard.press("Enter")
        page.wait_for_selector("#naming[open]")
        page.keyboard.press("Enter")
        saved(page, actions + 1)
        page.locator("#stretch-label").select_option("all labels")
        page.keyboard.press("v")
        saved(page, actions + 2)
        page.locator("#stretch-text").filter(has_text="1 searched so far").wait_for()  # the next one
        lines = [json.loads(line) for line in session.log.path.read_text().splitlines()]
        searched = lines[-1]["changes"]
        assert [change["label"] for change in searched] == ["rumble", "gunshot"]
        assert {(c["start_s"], c["end_s"]) for c in searched} == {(stretch.start_s, stretch.end_s)}
        assert all(change["event"].startswith("searched-random-") for change in searched)
        page.keyboard.press("r")
        rumbles = sum(event["label"] == "rumble" for event in listed)
        page.locator("#results .recall").first.filter(has_text=f"lists {rumbles} of {rumbles + 1} call").wait_for()
        assert "in 1 random stretch" in page.locator("#results .recall").first.inner_text()
        page.keyboard.press("Escape")
        page.keyboard.press("z")
        page.locator("#message").filter(has_text="Undone: 2 searched stretches").wait_for()


def test_play_and_stop_are_one_button_with_a_loop_and_a_volume(browser, reading):
    with opened(browser, reading) as page:
        page.locator("#loop").check()
        page.locator("#volume").fill("40")
        page.locator('[data-mode="16"]').click()
        page.wait_for_selector('body[data-playing="16"]')
        page.wait_for_timeout(900)  # the event and a second on both sides take 0.4 s
        assert page.locator("body").get_attribute("data-playing") == "16"
        page.locator("#play-button").filter(has_text="Stop").click()
        page.wait_for_selector('body[data-playing=""]', state="attached")
        page.locator("#loop").uncheck()
        page.locator("#play-button").filter(has_text="Play").click()
        page.locator("#play-button").filter(has_text="Stop").wait_for()
        page.wait_for_selector('body[data-playing=""]', state="attached")  # by itself, at the end


@pytest.mark.parametrize(("width", "height"), [(360, 740), (850, 700), (1440, 900)])
def test_everything_is_within_reach_on_every_screen(browser, reading, width, height):
    with opened(browser, reading, width, height) as page:
        for part in ("#single", "#grid"):
            assert page.evaluate("document.documentElement.scrollWidth") <= width, part
            for name in ("filters", "grid", "recordings", "results", "export", "help"):
                box = page.locator(f"#{name}-button").bounding_box()
                assert box["x"] >= 0 and box["x"] + box["width"] <= width, name
            if part == "#single":
                assert page.locator("#view").bounding_box()["height"] > 200 and page.locator("#strip").is_visible()
                page.locator("#grid-button").click()
                page.locator("#tiles .tile").nth(7).wait_for()
        assert page.locator("#grid-text").bounding_box()["height"] < 30  # one line
        if page.locator("#filters").is_hidden():
            page.locator("#filters-button").click()
        page.locator("#filters [name=label]").select_option("gunshot")
        page.locator("#list-size").filter(has_text="2 events").wait_for()
        if width < 1024:
            page.locator("#filters-close").click()
            assert page.locator("#filters").is_hidden()
            page.locator("#filters-button").click()
            page.keyboard.press("Escape")
            assert page.locator("#filters").is_hidden()


def test_dialogs_close_with_a_button_with_escape_and_with_a_click_beside_them(browser, reading):
    with opened(browser, reading) as page:
        ways = {"help": ("button", "Escape", "beside"), "results": ("beside",), "export": ("button",)}
        for name, hows in (ways | {"recordings": ("Escape",)}).items():
            for how in hows:
                page.locator(f"#{name}-button").click()
                page.wait_for_selector(f"#{name}[open]")
                if how == "button":
                    page.locator(f"#{name} .close").click()
                elif how == "Escape":
                    page.keyboard.press("Escape")
                else:
                    page.mouse.click(5, 400)
                page.wait_for_selector(f"#{name}:not([open])", state="attached")


def test_axes_colours_and_scores_have_units_and_the_clock_stands_beside_the_offset(browser, reading):
    with opened(browser, reading) as page:
        found = texts(page)
        assert {"clock", "in file", "03:00:10", "0:10", "dB", "score", "250 Hz", "0 Hz"} <= found
        page.locator("#looks summary").click()
        assert page.locator("#low-text").inner_text() == "4 dB"
        page.locator("#low").fill("6")
        assert (
            page.locator("#low-text").inner_text() == "6 dB"
            and "up to 28 dB" in page.locator("#range-text").inner_text()
        )
        assert "26 Jan 2018, 03:00:12" in page.locator("#where").inner_text()
        assert "0:12.0 – 0:17.0 in the file" in page.locator("#when").inner_text()


def test_tiles_name_site_and_time_and_the_grid_plays_and_has_unsure(browser, run):
    with served(run) as page_of, opened(browser, page_of, 1024) as page:
        page.locator("#grid-button").click()
        page.locator("#tiles .tile").nth(7).wait_for()
        page.locator("#tiles .where").first.filter(has_text="26 Jan 03:00:12 · nn01a").wait_for()
        page.locator("#tiles .play").first.click()
        page.wait_for_selector("body[data-playing]:not([data-playing=''])")
        page.locator("#tiles .play").first.filter(has_text="■").click()
        page.wait_for_selector('body[data-playing=""]', state="attached")
        page.locator("#tiles .tile").nth(2).click()
        page.locator("#grid-bar [data-verdict=unsure]").click()
        saved(page, 1)
        assert page.locator("#tiles .verdict-u").count() == 1
        page.locator("#grid-bar [data-verdict=no]").click()
        page.locator("#message").filter(has_text="No event is selected").wait_for()


def test_the_counts_are_those_of_the_run_and_of_the_list_and_undo_names_what_it_undoes(browser, run):
    with served(run) as page_of, opened(browser, page_of) as page:
        page.keyboard.press("y")
        shown(page, 2)
        assert "2 of 8 · 1 of 8 decided" in page.locator("#progress-text").inner_text()
        assert page.locator("#list-size").inner_text() == "8 events in this list, 7 not decided."
        page.locator("[name=label]").select_option("gunshot")
        page.locator("#list-size").filter(has_text="2 events in this list, 2 not decided").wait_for()
        assert "1 of 8 decided" in page.locator("#progress-text").inner_text()  # of the run, not of the list
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("t")
        page.keyboard.type("far away")
        page.keyboard.press("Enter")
        saved(page, 2)
        page.keyboard.press("z")
        page.locator("#message.shown").filter(has_text="Undone: the note.").wait_for()
        message, strip = page.locator("#message").bounding_box(), page.locator("#strip").bounding_box()
        assert message["y"] + message["height"] < strip["y"]
        page.keyboard.press("z")
        page.locator("#message.shown").filter(has_text="Undone: the decision.").wait_for()


def test_a_wrong_filter_is_named_beside_the_filter_until_it_is_mended(browser, reading):
    with opened(browser, reading) as page:
        page.locator("[name=hour_from]").fill("30")
        page.locator("[name=hour_from]").press("Enter")
        page.locator("#filter-fault").filter(has_text="between 0 and 23").wait_for()
        page.locator("[name=hour_from]").fill("")
        page.locator("[name=score_min]").fill("0.9")
        page.locator("[name=score_max]").fill("0.1")
        page.locator("[name=score_max]").press("Enter")
        page.locator("#filter-fault").filter(has_text="lowest score is above the highest").wait_for()
        page.locator("[name=score_max]").fill("1")
        page.locator("[name=score_max]").press("Enter")
        page.locator("#list-size").filter(has_text="1 event").wait_for()
        page.locator("#filter-fault:empty").wait_for(state="attached")
        page.locator("[name=score_min]").fill("0.99")
        page.locator("[name=score_min]").press("Enter")
        page.locator("#empty-text").filter(has_text="No event passes the filter.").wait_for()
        page.locator("#empty-actions button").first.click()
        page.locator("#list-size").filter(has_text="8 events").wait_for()


def test_a_run_without_an_event_says_what_to_do_and_its_recordings_can_be_searched(browser, run):
    (run / "events.csv").write_text((run / "events.csv").read_text().splitlines()[0] + "\n")
    with served(run) as page_of, opened(browser, page_of) as page:
        page.locator("#empty-text").filter(has_text="lists no event").wait_for()
        assert "--threshold" in page.locator("#empty-text").inner_text()
        page.locator("#empty-actions button").first.click()
        page.locator("#recordings tbody button").first.click()
        page.wait_for_selector("body[data-look]")
        page.locator("#draw-button").click()
        page.keyboard.press("Enter")
        page.locator("#naming .choices button").first.click()
        saved(page, 1)
        page.locator("#what").filter(has_text="rumble").wait_for()


def test_moved_recordings_are_found_from_the_page_and_no_unseen_event_is_decided(browser, original, run, tmp_path):
    for path in (run / "run.json", run / "events.csv", *(run / "tables").iterdir()):
        path.write_text(re.sub(r"/[^\s\",]*/recordings/", "/gone/", path.read_text()))
    with served(run) as page_of, opened(browser, page_of) as page:
        page.locator("#moved:visible").wait_for()
        assert page.locator("#decide [data-verdict=yes]").is_disabled()
        page.keyboard.press("y")
        page.locator("#message").filter(has_text="Decide only on events that you can see").wait_for()
        page.locator("#grid-button").click()
        page.locator("#tiles .tile.failed").nth(7).wait_for()
        page.keyboard.press("x")
        page.keyboard.press("n")
        page.locator("#message").filter(has_text="cannot be read").wait_for()
        assert page_of.session.decided == 0
        page.keyboard.press("Escape")
        page.locator("#moved input").fill(str(tmp_path / "nowhere"))
        page.locator("#moved button").click()
        page.locator("#message").filter(has_text="no such folder").wait_for()
        page.locator("#moved input").fill(str(original.parent))
        page.locator("#moved button").click()
        page.wait_for_selector("#decide [data-verdict=yes]:enabled")
        assert page.locator("#moved").is_hidden()
        page.keyboard.press("y")
        saved(page, 1)


def test_the_page_follows_the_theme_of_the_system(browser, reading):
    grounds = {}
    with opened(browser, reading) as page:
        for scheme in ("dark", "light"):
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(200)
            ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
            picture = page.evaluate("document.getElementById('view').toDataURL()")
            pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(picture.partition(",")[2])))
            grounds[scheme] = (sum(map(int, re.findall(r"\d+", ground))), pixels[40:100, 300:400, 0].mean())
    assert grounds["dark"][0] < 200 < 600 < grounds["light"][0]
    assert grounds["dark"][1] < 0.3 < 0.7 < grounds["light"][1]  # the spectrogram too


def short_run(run: Path, channels: int = 1) -> Path:
    """The run with one clip of 8 s instead of its recordings, and an event in its last channel."""
    clip = run.parent / "clips" / "clip.wav"
    clip.parent.mkdir()
    noise = 0.05 * np.random.default_rng(0).standard_normal((8 * 4000, channels))
    soundfile.write(clip, noise, 4000, subtype="PCM_16")
    record = json.loads((run / "run.json").read_text())
    item = {"recording": str(clip), "status": "done", "duration_s": 8.0, "analysed_s": 8.0, "events": 1, "reason": None}
    record["recordings"] = [item | {"notes": [], "table": "tables/clip.selections.txt"}]
    (run / "run.json").write_text(json.dumps(record))
    header = "recording,start_s,end_s,label,score,low_hz,high_hz,site,start_time"
    row = f"{clip},3,5,rumble,0.8,10,90,,"
    if channels > 1:
        header, row = f"{header},channel", f"{row},{channels}"
    (run / "events.csv").write_text(f"{header}\n{row}\n")
    remember([clip])
    return run


def test_a_short_clip_fills_the_picture(browser, run):
    with served(short_run(run)) as page_of, opened(browser, page_of) as page:
        colours = page.evaluate(
            "(() => { const c = document.getElementById('view'); const wide = c.width - 130;"
            "const all = new Uint32Array(c.getContext('2d').getImageData(62, 20, wide, 200).data.buffer);"
            "return [0, 0.9].map((share) => new Set(all.filter("
            "(_, k) => (k % wide) >= share * wide && (k % wide) < (share + 0.1) * wide)).size) })()"
        )
        assert min(colours) > 10  # at the beginning and at the end of the axis
        assert {"0:01", "0:07"} <= texts(page) and page.locator("#overview").is_hidden()
        assert "clock" not in texts(page)  # the name of the clip has no time


def test_the_channel_of_an_event_and_of_a_stretch_is_shown(browser, run):
    with served(short_run(run, channels=2)) as page_of, opened(browser, page_of) as page:
        assert "channel 2" in page.locator("#where").inner_text()
        assert "channel 2" in page.locator("#strip .where").first.inner_text()
        browse(page, "clip")
        assert "channel 1" in page.locator("#what").inner_text()
        page.locator("#channel").select_option("2")
        page.locator("#what").filter(has_text="channel 2").wait_for()
        page.keyboard.press("d")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        saved(page, 1)
        assert page_of.session.channel_of(1) == 2


@pytest.fixture(scope="module")
def decided(original, tmp_path_factory):
    """The served run with 60 rumbles, all of them decided."""
    run = Path(shutil.copytree(original, tmp_path_factory.mktemp("decided") / "my march"))
    names = [str(original.parent / "recordings" / f"{name}.wav") for name in NAMES]
    rng = np.random.default_rng(0)
    scores = rng.random(60).round(3)
    rows = [f"{names[k // 30]},{5 * (k % 30)},{5 * (k % 30) + 2},rumble,{scores[k]},10,90,," for k in range(60)]
    header = "recording,start_s,end_s,label,score,low_hz,high_hz,site,start_time"
    (run / "events.csv").write_text("\n".join([header, *rows]) + "\n")
    with served(run) as page:
        found = page.session.columns.score
        right = rng.random(60) < found
        page.session.act([{"row": k, "verdict": "yes" if right[k] else "no"} for k in range(60)])
        yield page


def test_the_results_are_sentences_and_the_plot_has_axes_and_a_legend(browser, decided):
    with opened(browser, decided) as page:
        page.locator("#empty-text").filter(has_text="Every event of this run has a decision").wait_for()
        page.locator("#empty-actions button").nth(1).click()
        page.wait_for_selector("#results[open] .fit")
        said = page.locator("#results .fit li").first.inner_text()
        assert re.match(r"Keep events that score 0\.\d+ and more: about 8\d % of them are right\.", said)
        drawn = set(page.evaluate("[...window.texts]"))
        assert {"events that are right", "score of the event", "your decisions, 95 %", "fit, 95 %", "50 %"} <= drawn
        assert "not measured. Search random stretches" in page.locator("#results .recall").first.inner_text()


def test_the_export_names_the_whole_path_and_what_comes_next(browser, decided):
    with opened(browser, decided) as page:
        page.locator("#export-button").click()
        page.locator("#write-button").click()
        page.wait_for_selector("#exported code")
        codes = page.locator("#exported code").all_inner_texts()
        folder = decided.session.run.folder.absolute()
        assert codes[0] == str(folder / "reviewed") and (folder / "reviewed" / "events.csv").is_file()
        assert {f'loxo report "{folder}"', f'loxo calibrate --review "{folder}"'} <= set(codes)


# -- a real run, by mouse, touch and keyboard alone


@pytest.fixture(scope="module")
def real_run(tmp_path_factory) -> Path:
    """A run of the bundled model over recordings of forest elephants, and one of frogs."""
    names = (*sorted(RECORDINGS.glob("rumble/elp_pnnn*"))[:2], *sorted(RECORDINGS.glob("background/*"))[:1])
    if len(names) < 3:
        pytest.skip("the reference recordings are not here")
    from loxo import survey

    folder = tmp_path_factory.mktemp("real")
    (folder / "card").mkdir()
    for path in names:
        shutil.copy(path, folder / "card")
    survey([folder / "card"], "default", folder / "run", threshold=0.1, keep_scores=True)
    return folder / "run"


class Mouse:
    scheme, size, touch = "light", (900, 700), False

    def __init__(self, page):
        self.page = page

    def press(self, selector, key):
        self.page.locator(selector).first.click()

    def box(self, x, y):
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + 60, y + 40, steps=3)
        self.page.mouse.up()


class Touch(Mouse):
    scheme, size, touch = "dark", (360, 740), True

    def press(self, selector, key):
        self.page.locator(selector).first.tap()

    def box(self, x, y):
        session = self.page.context.new_cdp_session(self.page)
        for kind, shift in (("Start", 0), ("Move", 30), ("Move", 60), ("End", None)):
            places = [] if shift is None else [{"x": x + shift, "y": y + shift}]
            session.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": places})
        self.page.wait_for_timeout(500)  # a tap at once after a stroke may count as the second tap of two


class Keyboard(Mouse):
    scheme, size, touch = "dark", (1440, 900), False

    def press(self, selector, key):
        for name in key.split():
            self.page.keyboard.press(name)

    def box(self, x, y):
        self.page.keyboard.press("Enter")


@pytest.mark.parametrize("hands", [Mouse, Touch, Keyboard])
def test_a_real_run_is_reviewed_searched_and_exported(browser, real_run, tmp_path, hands):
    run = Path(shutil.copytree(real_run, tmp_path / "run"))
    remember((real_run.parent / "card").iterdir())
    with served(run) as page_of, opened(browser, page_of, *hands.size, scheme=hands.scheme, touch=hands.touch) as page:
        hand = hands(page)
        count = len(page_of.session.names)
        assert count > 3
        for number, verdict in enumerate(("yes", "no", "unsure"), 1):
            hand.press(f"#decide [data-verdict={verdict}]", verdict[0])
            saved(page, number)
        hand.press("#undo-button", "z")
        saved(page, 4)
        hand.press("#play-button", "Space")
        page.wait_for_selector("body[data-playing]:not([data-playing=''])")
        hand.press("#play-button", "Space")
        hand.press("#recordings-button", "w")
        page.wait_for_selector("#recordings[open] tbody button")
        names = page.locator("#recordings tbody button").all_inner_texts()
        frogs = next(k for k, name in enumerate(names) if "arbimon" in name)
        steps = 2 + frogs + 1  # the button Random stretch, the table, then the recordings
        hand.press(f"#recordings tbody tr:nth-child({frogs + 1}) button", " ".join(["Tab"] * steps + ["Enter"]))
        page.wait_for_selector("body[data-look]")
        assert "arbimon" in page.locator("#when").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= hands.size[0]
        before = range_of(page)
        after = looked(page, lambda: hand.press("#in-button", "+"))
        assert after[1] - after[0] < before[1] - before[0]
        hand.press("#draw-button", "d")
        page.locator("#view").scroll_into_view_if_needed()
        hand.box(*middle(page))
        page.wait_for_selector("#naming[open]")
        hand.press("#naming .choices button", "1")
        saved(page, 5)
        hand.press("#searched-button", "v")
        saved(page, 6)
        hand.press("#back-button", "Escape")
        page.wait_for_selector("#stretch-bar", state="hidden")
        hand.press("#export-button", "e")
        page.wait_for_selector("#write-button")
        hand.press("#write-button", "Enter")
        page.wait_for_selector("#exported code")
        hand.press("#export .close", "Escape")
        page.wait_for_selector("#export:not([open])", state="attached")
    drawn = read_raven(next((run / "reviewed" / "tables").glob("arbimon*")))
    assert len(drawn) == 1
    assert len((run / "reviewed" / "events.csv").read_text().splitlines()) == 3  # a header, one confirmed, one drawn


# -- accessibility


@pytest.fixture(scope="module")
def axe(request) -> str:
    """The source of axe-core (MPL 2.0) from npm, kept in pytest's cache."""
    folder = request.config.cache.mkdir("axe-core-4.14.1")
    script = folder / "package" / "axe.min.js"
    if not script.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("npm is not installed, from which axe-core comes")
        try:
            subprocess.run([npm, "pack", "axe-core@4.14.1"], cwd=folder, check=True, capture_output=True, timeout=60)
        except (subprocess.SubprocessError, OSError) as error:
            pytest.skip(f"npm cannot load axe-core: {error}")
        shutil.unpack_archive(next(folder.glob("*.tgz")), folder, filter="data")
    return script.read_text(encoding="utf-8")


def test_axe_finds_no_serious_fault(browser, decided, axe):
    with opened(browser, decided, 1440, 900) as page:
        page.evaluate(axe)
        themes = itertools.cycle(("dark", "light"))
        sizes = itertools.cycle(((360, 740), (900, 700), (1440, 900)))

        def check(state: str, *schemes: str) -> None:
            for scheme in schemes or ("dark", "light"):
                width, height = next(sizes)
                page.set_viewport_size({"width": width, "height": height})
                page.emulate_media(color_scheme=scheme)
                found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
                serious = [
                    (fault["id"], [node["target"] for node in fault["nodes"]])
                    for fault in found
                    if fault["impact"] in ("serious", "critical")
                ]
                assert serious == [], (state, width, scheme)
            page.set_viewport_size({"width": 1440, "height": 900})

        check("empty", "light")
        for name in ("results", "export", "help", "recordings"):
            page.locator(f"#{name}-button").click()
            page.wait_for_selector(f"#{name}[open]")
            check(name, next(themes))
            page.keyboard.press("Escape")
        page.keyboard.press("f")
        page.locator("[name=status]").select_option("all")
        check("filter", "dark")
        page.keyboard.press("Escape")
        check("event")
        page.locator("#grid-button").click()
        page.locator("#tiles .tile").nth(7).wait_for()
        check("grid")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press("c")
        page.wait_for_selector("body[data-look]")
        check("random stretch")


def test_a_report_fits_a_phone_has_no_serious_fault_and_prints_light(browser, run, axe):
    made = report(run)
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme="dark", bypass_csp=True)
    page = context.new_page()
    page.goto(made.page.as_uri())
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [fault["id"] for fault in found if fault["impact"] in ("serious", "critical")] == []
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    ground = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(ground) == "rgb(18, 25, 30)"
    page.emulate_media(media="print")
    assert page.evaluate(ground) == "rgb(255, 255, 255)"
    context.close()
