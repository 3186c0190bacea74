"""The main path in headless Chromium: from an empty home to a report, in French, with the server killed on the way."""

import re
import shutil
import signal
from pathlib import Path

FILES = 4  # of the real recordings
GONE = ("ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY_RESPONSE")


def test_from_an_empty_home_to_a_report(browser, start, home, shared):
    card = home / "carte"
    card.mkdir()
    for file in sorted((shared / "data" / "recordings" / "rumble").glob("*.flac"))[:FILES]:
        shutil.copy(file, card)
    (card / "damaged.wav").write_bytes(b"RIFF no sound")
    address, server = start()
    context = browser.new_context(locale="fr-FR", viewport={"width": 1200, "height": 900})
    page, faults = context.new_page(), []
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    context.set_default_timeout(90_000)
    page.goto(address)
    page.get_by_role("heading", name="Aucune analyse").wait_for()
    page.get_by_role("link", name="Nouvelle analyse").first.click()

    page.get_by_role("button", name="Dossier personnel").click()
    page.get_by_role("button", name="carte").click()
    page.get_by_text("5 enregistrements dans ce dossier").wait_for()
    page.get_by_role("button", name="Utiliser ce dossier").click()
    page.get_by_text("1 problème avant le début").wait_for()
    page.get_by_label("Tous les cas douteux").check()
    page.get_by_text("--threshold 0.05").wait_for()
    page.get_by_role("button", name="Lancer").click()

    page.locator(".chip.running").wait_for()
    server.send_signal(signal.SIGKILL)  # the page stays open, and the search goes on
    server.wait()
    page.locator("#offline").get_by_text("Les travaux continuent").wait_for()
    address, _ = start()
    place = page.evaluate("location.hash")
    page.goto(address)
    page.goto(address.partition("?")[0] + place)
    page.locator(".chip.finished").wait_for()
    page.get_by_text("1 enregistrement avec un problème", exact=True).wait_for()
    assert faults == [] or all(any(gone in fault for gone in GONE) for fault in faults)
    faults.clear()

    page.get_by_role("link", name="Ouvrir la vérification").click()
    page.locator("#what").get_by_text("rumble").wait_for()
    for decided in (1, 2, 3):
        page.keyboard.press("y")
        page.locator("#progress-text").get_by_text(re.compile(rf"\b{decided} sur \d+ décidés")).wait_for()
    page.locator("h1 a").click()
    page.get_by_role("button", name="Écrire le rapport").click()
    with context.expect_page() as opened:
        page.get_by_role("link", name="Ouvrir le rapport").click()
    report = opened.value
    report.wait_for_load_state()
    assert "carte" in report.inner_text("h1")
    run = home / "Loxo" / "carte"
    assert (run / "reviewed" / "events.csv").is_file() and Path(run, "report.html").is_file()
    page.get_by_label("Langue").select_option("en")
    page.get_by_role("heading", name="What next").wait_for()
    page.get_by_role("link", name="Surveys").click()
    page.get_by_role("link", name="carte").wait_for()
    assert faults == []
    context.close()
