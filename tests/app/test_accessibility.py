"""What a screen reader and a keyboard get from the pages: Chromium's accessibility tree, focus, languages, contrast."""

import os
import re
import subprocess
import sys
from itertools import pairwise

import pytest
from fakerun import make_run

from loxo.audio.roots import remember
from loxo.languages import speaking
from loxo.review.login import Login

# Roles that need a name: controls, pictures, tables, places to jump to.
NAMED = {
    *("button", "link", "textbox", "searchbox", "combobox", "checkbox", "radio", "slider", "spinbutton", "progressbar"),
    *("image", "navigation", "region", "dialog", "DisclosureTriangle", "table", "rowheader", "columnheader"),
}
# Texts with a contrast below that of WCAG 2.2 (AA). Disabled controls and pictures are exempt.
CONTRAST = """() => {
  const channel = (value) => value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const parse = (text) => { // any colour of CSS, as red, green, blue and opacity
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = text; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r / 255, g / 255, b / 255, a / 255];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((value, k) => value * a + below[k] * (1 - a));
  const light = (colour) => { const [r, g, b] = colour.map(channel); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const background = (node) => {
    const layers = [];
    for (; node; node = node.parentElement) layers.unshift(parse(getComputedStyle(node).backgroundColor));
    const scheme = getComputedStyle(document.documentElement).colorScheme;
    const isDark = scheme.includes('dark') && matchMedia('(prefers-color-scheme: dark)').matches;
    return layers.reduce((below, layer) => over(layer, below), isDark ? [0.07, 0.07, 0.07] : [1, 1, 1]);
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement, words = texts.currentNode.data.trim();
    const isShown = node.checkVisibility({ opacityProperty: true, visibilityProperty: true });
    if (!words || !isShown || node.closest(':disabled, svg, .sr')) continue;
    const style = getComputedStyle(node), size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    const below = background(node);
    const [a, b] = [light(over(parse(style.color), below)), light(below)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (isLarge ? 3 : 4.5)) found.push(`${words.slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""


# The element with the focus: whether it is the body, and whether a user sees that it has the focus.
FOCUSED = """() => {
  const focused = document.activeElement, style = getComputedStyle(focused);
  const isSeen = focused.checkVisibility() && style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
  return [focused === document.body, isSeen ? '' : focused.outerHTML];
}"""
TO_THE_START = """() => {
  document.body.tabIndex = -1;
  document.body.focus();
  document.body.removeAttribute('tabindex');
}"""
STOPS = """() => {
  const all = [...document.querySelectorAll('a[href], button, input, select, textarea, summary, [tabindex]')];
  const stops = all.filter((each) => each.tabIndex >= 0 && !each.disabled && each.checkVisibility());
  return stops.filter((each) => each.type !== 'radio' || each.checked).length;
}"""
# In place of the server's events: send(kind, data) gives the page one.
EVENTS = """
window.EventSource = class {
  constructor() { window.send = (kind, data) => this.listeners[kind]({ data: JSON.stringify(data) }); }
  listeners = {};
  addEventListener(kind, listener) { this.listeners[kind] = listener; }
  close() {}
};
"""


@pytest.fixture(scope="module")
def opened(browser, tmp_path_factory):
    """A page in French, the address of its app, and a run in the home folder."""
    home = tmp_path_factory.mktemp("home")
    run = make_run(home / "made")
    remember(run.parent.glob("recordings/*.wav"))
    own = {"HOME": home, "USERPROFILE": home, "LOXO_HOME": home / "loxo", "COLUMNS": "200"}
    server = subprocess.Popen(
        [sys.executable, "-m", "loxo", "app", "--no-browser", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {name: str(value) for name, value in own.items()},
    )
    context = browser.new_context(locale="fr-FR", viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(re.search(r"http://\S+", server.stdout.readline())[0])
    page.get_by_role("heading", name="Aucune analyse").wait_for()
    yield page, page.url.partition("?")[0].partition("#")[0], run
    context.close()
    server.kill()
    server.wait()
    server.stdout.close()


def nodes(page):
    """The accessibility tree without what a screen reader leaves out: role, name, and level of each heading."""
    session = page.context.new_cdp_session(page)
    found = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    kept = [node for node in found if not node["ignored"]]
    levels = [{each["name"]: each["value"].get("value") for each in node.get("properties", [])} for node in kept]
    return [
        (node["role"]["value"], node.get("name", {}).get("value", "").strip(), level.get("level"))
        for node, level in zip(kept, levels, strict=True)
    ]


def check(page, title):
    """What holds for each page. `title`: its heading."""
    assert page.evaluate("document.documentElement.lang") == "fr"
    tree = nodes(page)
    assert [role for role, name, _ in tree if role in NAMED and not name] == []
    headings = [(name, level) for role, name, level in tree if role == "heading"]
    assert headings[0] == (title, 1) and [level for _, level in headings].count(1) == 1
    levels = [level for _, level in headings]
    assert all(below <= above + 1 for above, below in pairwise(levels)), headings
    assert [role for role, _, _ in tree].count("main") == 1
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRAST) == [], scheme
    stops = page.evaluate(STOPS)
    page.evaluate(TO_THE_START)
    for _ in range(stops):
        page.keyboard.press("Tab")
        is_body, unseen = page.evaluate(FOCUSED)
        assert not is_body and not unseen
    page.keyboard.press("Tab")
    assert page.evaluate(FOCUSED)[0]  # after the last control: nothing keeps the focus
    return tree


def open_run(page, run):
    page.evaluate(
        """async (folder) => {
          const headers = { 'Content-Type': 'application/json' };
          const answer = await fetch('api/open', { method: 'POST', headers, body: JSON.stringify({ folder }) });
          location.hash = `#/runs/${(await answer.json()).id}`;
        }""",
        str(run),
    )
    page.get_by_role("heading", name="Et ensuite").wait_for()


def test_the_pages_of_the_app(opened):
    page, address, run = opened
    tree = check(page, "Analyses")
    assert {("banner", "", None), ("navigation", "Pages", None), ("status", "", None)} <= set(tree)
    page.get_by_role("link", name="Nouvelle analyse").first.click()
    page.get_by_role("button", name="Dossier personnel").click()
    page.get_by_role("button", name="made").click()
    page.get_by_role("button", name="Utiliser ce dossier").click()
    page.locator(".command code").wait_for()
    page.locator("details.expert summary").click()
    tree = check(page, "Nouvelle analyse")
    radios = [name.split()[0] for role, name, _ in tree if role == "radio"]
    assert radios == ["Analyse", "Aperçu", "Tous"]
    assert {("table", "Sites", None), ("textbox", "Latitude de nn01a", None)} <= set(tree)
    page.get_by_role("link", name="Analyses").click()
    page.get_by_role("button", name="Ouvrir un dossier").click()
    page.locator("dialog .folders button").first.wait_for()
    assert ("dialog", "Ouvrir un dossier d’analyse", None) in nodes(page)
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.textContent") == "Ouvrir un dossier d’analyse"
    open_run(page, run)
    check(page, "run")
    page.get_by_label("Langue").select_option("en")
    page.get_by_role("heading", name="What next").wait_for()
    assert page.evaluate("document.documentElement.lang") == "en"
    page.get_by_label("Language").select_option("fr")
    page.get_by_role("heading", name="Et ensuite").wait_for()
    link = page.get_by_role("link", name="Ouvrir la vérification").get_attribute("href")
    page.get_by_role("link", name="Analyses").click()
    page.locator("table.runs").wait_for()
    assert ("table", "Analyses", None) in check(page, "Analyses")
    page.goto(address + link)
    page.locator("#what").get_by_text("rumble").wait_for()
    tree = check(page, "← Loxo run")
    assert ("progressbar", "événements décidés de l’analyse", None) in tree


def test_the_login_page(browser):
    with speaking("fr"):
        text = Login.page("Mot de passe refusé.")
    page = browser.new_page()
    page.route("**", lambda route: route.fulfill(body=text, content_type="text/html"))
    page.goto("http://login.test/")
    tree = check(page, "Loxo")
    assert {("textbox", "Mot de passe", None), ("button", "Se connecter", None), ("alert", "", None)} <= set(tree)
    page.close()


def test_progress_is_announced_and_does_not_take_the_focus(opened):
    page, address, run = opened
    page.goto(address)
    page.evaluate(f"() => {{ {EVENTS} }}")
    open_run(page, run)
    said = page.locator("p.sr[role=status]")
    job = {"id": "1", "command": "detect", "state": "running", "line": "loxo detect", "stopping": False, "ended": 1.0}

    def progress(share, **changed):
        state = job | {"progress": {"share": share, "elapsed_s": 1}} | changed
        page.evaluate("(state) => send('jobs', { jobs: [state], place: 0 })", state)

    progress(0.05)
    stop = page.get_by_role("button", name="Arrêter")
    stop.focus()
    stop.evaluate("(each) => { each.isFirst = true; }")
    progress(0.31)
    assert said.inner_text() == "en cours, 30\xa0%"
    progress(0.36)
    assert said.inner_text() == "en cours, 30\xa0%"
    strip = {"labels": {}, "effort": [1], "first": None, "seconds": 60}
    live = {"problem_count": 1, "problems": [{"sentence": "a.wav"}], "events": {}, "hours": 1, "recordings": 2}
    page.evaluate("(live) => send('run', live)", live | {"strip": strip, "station": None})
    assert said.inner_text() == "en cours, 30\xa0%, 1 enregistrement avec un problème"
    assert stop.evaluate("(each) => each.isFirst && each === document.activeElement")  # the same one, not a new one
    progress(1, state="finished")
    assert said.inner_text().startswith("terminée")
    assert page.evaluate("document.activeElement.textContent") == "Analyser les nouveaux enregistrements"
