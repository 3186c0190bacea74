"""`loxo app`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loxo.cli.app import app, console
from loxo.cli.shared import Certificate, Key, PasswordFile, SelfSigned, print_address
from loxo.languages import text


@app.command("app")
def open_app(
    folder: Annotated[
        list[Path] | None,
        typer.Option(help="Another folder to offer beside your home folder and the drives. May be repeated."),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the server; default: 8750, or else any free port.", min=0, max=65535)
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
    host: Annotated[
        str, typer.Option(help="Address of the server. Other computers need a password and an encrypted connection.")
    ] = "127.0.0.1",
    idle_minutes: Annotated[
        float | None, typer.Option(help="Stop when no page has been open for this long. The icon uses 10.", min=0.1)
    ] = None,
    password_file: PasswordFile = None,
    certificate: Certificate = None,
    key: Key = None,
    self_signed: SelfSigned = False,
    install_shortcut: Annotated[
        bool, typer.Option("--install-shortcut", help="Only put an icon on the desktop, which starts the app.")
    ] = False,
) -> None:
    """Open the app in a browser: choose a folder, search it, review, report. In English and French.

    Searches go on when the page or this command is closed. Nothing leaves this computer. Ctrl-C stops the server.

    Example: `loxo app`, or in a camp `loxo app --host 192.168.1.5 --password-file password.txt --self-signed`
    """
    if install_shortcut:
        from loxo.app.shortcut import install

        for path in install():
            console.print(text("the icon was written to {path}", path=path), highlight=False, soft_wrap=True)
        return
    from loxo.app.server import serve_app
    from loxo.review.access import read_access

    access = read_access(host, password_file, certificate, key, self_signed)

    def on_address(address: str) -> None:
        print_address(address, access)

    serve_app(
        lambda: typer.main.get_command(app),
        folders=folder or (),
        host=host,
        port=port,
        browser=browser,
        idle_minutes=idle_minutes,
        on_address=on_address,
        access=access,
    )
