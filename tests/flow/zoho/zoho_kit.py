"""What the tests of this room share: scopes, and a server that misbehaves as no simulator would."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SCOPES = (
    "ZohoCRM.modules.ALL,ZohoCRM.settings.ALL,ZohoCRM.users.READ,ZohoCRM.org.READ,ZohoCRM.notifications.ALL,"
    "ZohoCRM.coql.READ,ZohoSearch.securesearch.READ,ZohoBooks.fullaccess.all,Desk.tickets.ALL,Desk.contacts.ALL,"
    "Desk.basic.ALL,Desk.settings.ALL,Desk.search.READ,Desk.webhooks.ALL,Desk.events.ALL"
)


class Odd(SimpleNamespace):
    """A server of raw answers: `say(path, sock)` writes what it likes. Token calls get a token, unless told otherwise."""

    def __init__(self, say: Callable[[str, socket.socket], None]) -> None:
        super().__init__(client_id="1000.ODD", client_secret="secret-secret", refresh_token="r", paths=[])
        self.say = say
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.base = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            head = b""
            while b"\r\n\r\n" not in head:
                got = sock.recv(65_536)
                if not got:
                    return
                head += got
            path = head.split()[1].decode()
            self.paths.append(path)
            try:
                if path.startswith("/oauth") and not getattr(self, "tokens_too", False):
                    sock.sendall(
                        whole(
                            b'{"access_token": "1000.t", "expires_in": 3600, "api_domain": "%s"}'
                            % self.domain
                        )
                    )
                else:
                    self.say(path, sock)
            except OSError:
                return

    domain = b"https://evil.example"

    def stop(self) -> None:
        """Closes the door; what hangs is a daemon."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)


def whole(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    """One HTTP answer, with its length."""
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return (
        f"HTTP/1.1 {status}\r\nConnection: close\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
