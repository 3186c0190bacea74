"""`loxo app`: the whole job in a browser, from a folder of recordings to a report. Nothing leaves this computer.

    jobs.py      commands as processes of their own, and their queue;  job.py: such a process
    folders.py   the folders that the app may use, and what they contain
    commands.py  options of the commands as forms, and forms as command lines;  sites.py: a table of sites
    runs.py      the list of runs;  live.py: a run in progress;  reviews.py: the review page of a run
    api.py       what the page requests;  static/: the page
    shortcut.py  an icon for the desktop;  idle.py: an end for a server without a terminal

The page does what the commands do, by starting them: a run folder of the app is a run folder of `loxo detect`. The
server keeps nothing in memory that a restart would lose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loxo.errors import LoxoError
from loxo.machine import user_data
from loxo.review.front import Files, page_files, static_files
from loxo.review.guard import is_loopback
from loxo.review.serving import Opened, Stop, serve_page

if TYPE_CHECKING:
    from loxo.review.access import Access

SHARED = ("/static/colours.css", "/static/base.css", "/static/icon.svg", "/static/js/api.js", "/static/js/language.js")


def serve_app(
    group: Callable[[], Any],
    *,
    folders: Sequence[Path] = (),
    host: str = "127.0.0.1",
    port: int | None = None,
    browser: bool = True,
    idle_minutes: float | None = None,
    on_address: Callable[[str], None] | None = None,
    access: Access | None = None,
) -> None:
    """Serves the app until Ctrl-C. `group` returns the click group of `loxo`; `folders` are offered beside the home
    folder and the drives. The server ends when no page has been open for `idle_minutes`.

    Raises LoxoError when the port cannot be opened, and for a host of other computers without an `access`.
    """
    if not is_loopback(host) and access is None:
        raise LoxoError(
            f"--host {host}: the app starts programs and reads folders, so other computers need a password and an "
            "encrypted connection. Give --password-file FILE, and --certificate with --key or --self-signed. Or "
            "forward the port with ssh -L."
        )
    home = user_data()

    def open_api(stop: Stop) -> Opened:
        from loxo.app.api import create_api
        from loxo.app.folders import Places
        from loxo.app.idle import WhileUsed

        api, close = create_api(home, group(), Places(folders), stop, lambda: stop.requested)
        return (api if idle_minutes is None else WhileUsed(api, 60 * idle_minutes, stop)), close

    serve_page(
        app_files(),
        open_api,
        "loxo app",
        host=host,
        port=port,
        browser=browser,
        on_address=on_address,
        access=access,
    )


def app_files() -> Files:
    """The files of the page, with those that it shares with the review page."""
    shared = static_files("loxo.review")
    return {name: shared[name] for name in SHARED} | page_files("loxo.app")
