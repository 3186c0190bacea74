"""The pages in headless Firefox, from an empty home to a report, on this computer and from another one with a password.

One browser serves all tests: it takes longer to start than they need.
"""

import json

import pytest
from fakerun import make_run
from firefox import FIREFOX, firefox

from loxo.audio.roots import remember

pytestmark = pytest.mark.skipif(FIREFOX is None, reason="no Firefox is installed (apt-get install firefox-esr)")

PASSWORD = "elephants at night"
WORDS = {
    "fr": {
        **{
            "empty": "Aucune analyse pour l’instant",
            "recordings": "18 enregistrements",
            "events": "6 grondements · 2 coups de feu",
        },
        **{"decided": "1 sur 8 décidés", "report": "Ouvrir le rapport", "write": "Écrire le rapport"},
        **{"title": "Rapport d’analyse\u00a0: run"},
    },
    "en": {
        **{"empty": "No survey yet", "recordings": "18 recordings", "events": "6 rumbles · 2 gunshots"},
        **{"decided": "1 of 8 decided", "report": "Open the report", "write": "Write the report"},
        **{"title": "Survey report: run"},
    },
}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with firefox(tmp_path_factory.mktemp("firefox") / "profile", "fr") as page:
        yield page


def test_the_main_path_in_french(page, start, home, card):
    page.open(start()[0])
    main_path(page, home, card, WORDS["fr"], search=True)


def test_the_main_path_in_english_from_another_computer(page, start, home, card, tmp_path):
    file = tmp_path / "password.txt"
    file.touch(0o600)
    file.write_text(PASSWORD + "\n")
    page.open(start("--host", "127.0.0.1", "--password-file", str(file), "--self-signed")[0])
    assert (
        page.run("return document.documentElement.lang + document.querySelector('label').textContent")
        == "frMot de passe"
    )
    for words in ("another", PASSWORD):
        page.run(f"document.querySelector('#password').value = {json.dumps(words)}")
        page.run("document.querySelector('button').click()")
        if words != PASSWORD:
            page.until("document.querySelector('[role=alert]')?.textContent")
    page.until("document.querySelector('#top select')")
    page.run(
        "const list = document.querySelector('#top select'); list.value = 'en'; list.dispatchEvent(new Event('change'))"
    )
    page.until("document.documentElement.lang === 'en'")
    assert page.run("return location.protocol") == "https:"
    main_path(page, home, card, WORDS["en"])


def main_path(page, home, card, words, search=False):
    """From the list of surveys: a folder and perhaps its search, then the review and the report of a run."""
    page.until(f"document.querySelector('h2')?.textContent === {json.dumps(words['empty'])}")
    page.run("location.hash = '#/new'")
    click(page, ".picker .choices button")  # the home folder
    click(page, "button.folder", "card")
    page.until(f"document.querySelector('.path input').value === {json.dumps(str(card))}")
    click(page, ".path button")
    page.until("document.querySelector('.command code')?.textContent.includes('loxo detect')")
    assert page.run("return document.querySelector('.facts').innerText").startswith(words["recordings"])
    for name, degrees in (("latitude", "2,2"), ("longitude", "16.5")):
        field = f"document.querySelector('.sites [data-name={name}]')"
        page.run(f"{field}.value = '{degrees}'; {field}.dispatchEvent(new Event('input'))")
    page.until("document.querySelector('.map img')?.naturalWidth")
    if search:  # once is enough: it takes longest
        click(page, ".go button")
        page.until("document.querySelector('.chip.finished')")
        page.until("document.querySelector('.problems')?.open")

    run = make_run(home / "made")
    remember(run.parent.glob("recordings/*.wav"))
    folder = json.dumps(json.dumps({"folder": str(run)}))
    page.run(
        "fetch('api/open', { method: 'POST', headers: { 'Content-Type': 'application/json' }, "
        f"body: {folder} }}).then((a) => a.json()).then(({{ id }}) => {{ location.hash = `#/runs/${{id}}`; }})"
    )
    page.until(f"document.querySelector('.facts')?.innerText.includes({json.dumps(words['events'])})")
    address = page.run("return location.href")
    page.until("document.querySelector('.actions a')")
    page.open(page.run("return document.querySelector('.actions a').href"))
    page.until("document.querySelector('#what')?.textContent.includes('rumble')")
    click(page, "#decide [data-verdict=yes]")
    page.until(f"document.querySelector('#progress-text').textContent.includes({json.dumps(words['decided'])})")

    page.open(address)
    click(page, ".actions button", words["write"])
    page.until(
        f"[...document.querySelectorAll('.actions a')].some((a) => a.textContent === {json.dumps(words['report'])})"
    )
    assert (run / "reviewed" / "events.csv").is_file()
    page.open(page.run("return document.querySelector('.actions a[href$=\"report.html\"]').href"))
    page.until("document.querySelector('svg')")
    assert page.run("return document.querySelector('h1').textContent") == words["title"]
    assert page.faults == []


def click(page, selector, text=None):
    """Waits for an enabled control, the first one or that with this text, and activates it."""
    found = f"[...document.querySelectorAll({json.dumps(selector)})].find((each) => !each.disabled"
    found += ")" if text is None else f" && each.textContent === {json.dumps(text)})"
    page.until(found)
    page.run(f"{found}.click()")
