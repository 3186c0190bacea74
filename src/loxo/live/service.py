"""Messages to systemd: the service is ready, and is alive (sd_notify). Without systemd, nothing happens."""

from __future__ import annotations

import os
import socket
from contextlib import suppress


def notify_service(state: str) -> None:
    """Sends READY=1 or WATCHDOG=1 to the service manager that started this process."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address or not hasattr(socket, "AF_UNIX"):
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect("\0" + address[1:] if address.startswith("@") else address)
        sender.send(state.encode())
