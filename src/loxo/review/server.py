"""`loxo review`: opens the run and serves its page until it is stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from loxo.review.decision_log import decision_log_path
from loxo.review.front import review_files
from loxo.review.guard import is_loopback
from loxo.review.serving import Opened, Stop, account, serve_page
from loxo.runs.read import check_root, check_run

if TYPE_CHECKING:
    from loxo.review.access import Access
    from loxo.review.session import Session


def serve(
    run: str | Path,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    browser: bool = True,
    recordings: str | Path | None = None,
    reviewer: str | None = None,
    sample: int | None = None,
    on_address: Callable[[str], None] | None = None,
    on_open: Callable[[Session], None] | None = None,
    access: Access | None = None,
) -> None:
    """Serves the review page of a run folder until Ctrl-C. Every decision is written to the disk before it is answered.

    `host` is the address to listen on, `port` the port (None: PORT, or any free one). Moved recordings are found by
    their names in the folder `recordings`. `reviewer` is the name of the reviewer (None: that of the user's account).
    `sample` is the number of events of each class in the first list of the page. `on_address` receives the address with
    the token while the run is read, and another one when that address is opened again; `on_open` receives the session.
    With an `access`, other computers need a password, and the connection is encrypted.
    Raises LoxoError when the run or the port cannot be opened.
    """
    reviewer = reviewer or account()
    check_run(run)  # quick checks come before the browser opens
    check_root(recordings)
    decision_log_path(Path(run), reviewer)

    def open_api(stop: Stop) -> Opened:
        from loxo.review.app import create_api
        from loxo.review.session import Session

        session = Session(run, reviewer, recordings)
        if on_open is not None:
            on_open(session)
        return create_api(session, is_loopback(host)), session.close

    serve_page(
        review_files(sample),
        open_api,
        "loxo review",
        host=host,
        port=port,
        browser=browser,
        on_address=on_address,
        access=access,
    )
