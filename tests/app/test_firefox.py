"""The pages of the app in headless Firefox: choose a card, open a run, decide in its review."""

import json
import os
import re
import subprocess
import sys

import pytest
from fakerun import make_run
from firefox import FIREFOX, firefox

from loxo.audio.roots import remember


@pytest.mark.skipif(FIREFOX is None, reason="no Firefox is installed (apt-get install firefox-esr)")
def test_the_pages_work_in_firefox(home, card, tmp_path):
    run = make_run(home / "made")
    remember(run.parent.glob("recordings/*.wav"))
    command = [sys.executable, "-m", "loxo", "app", "--no-browser", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "200"})
    try:
        address = re.search(r"http://\S+", server.stdout.readline())[0]
        with firefox(tmp_path / "profile", "fr") as page:
            page.open(address)
            page.until("document.querySelector('h2')?.textContent.startsWith('Aucune analyse')")
            page.run("location.hash = '#/new'")
            page.until("document.querySelector('.picker .choices button')")
            page.run("document.querySelector('.picker .choices button').click()")  # the home folder
            wanted = "[...document.querySelectorAll('button.folder')].find((b) => b.textContent === 'card')"
            page.until(wanted)
            page.run(f"{wanted}.click()")
            page.until(f"document.querySelector('.path input').value === {json.dumps(str(card))}")
            page.run("document.querySelector('.path button').click()")
            page.until("document.querySelector('.command code')?.textContent.includes('loxo detect')")
            assert page.run("return document.querySelector('.facts').innerText").startswith("18 enregistrements")
            folder = json.dumps(json.dumps({"folder": str(run)}))
            page.run(
                "fetch('api/open', { method: 'POST', headers: { 'Content-Type': 'application/json' }, "
                f"body: {folder} }}).then((a) => a.json()).then(({{ id }}) => {{ location.hash = `#/runs/${{id}}`; }})"
            )
            page.until("document.querySelector('.facts')?.innerText.includes('6 grondements · 2 coups de feu')")
            page.until("document.querySelector('.actions a')")
            assert page.faults == []
            page.open(page.run("return document.querySelector('.actions a').href"))
            page.until("document.querySelector('#what')?.textContent.includes('rumble')")
            page.run("document.querySelector('#decide [data-verdict=yes]').click()")
            page.until("document.querySelector('#progress-text').textContent.includes('1 sur 8 décidés')")
            assert page.faults == []
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
