"""The embedded Redis: a server in the project's own folder, for the demo, `zohook up` and the tests.

One server per folder. It inherits the file lock of whoever starts it, so the lock lives as long as the server
does: a stale pid file cannot lie, and two starts at once cannot write one append-only file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from receiver.errors import SettingsError
from receiver.ledger.server import find_server, tied

Sync = Literal["always", "everysec", "no"]
PLACE = Path(".zohook") / "redis"
LONGEST_SOCKET = 100
"""sun_path holds 104 bytes on macOS and 108 on Linux."""
ANSWER_WITHIN = 15.0
LOAD_WITHIN = 900.0
STOP_WITHIN = 20.0


class Embedded:
    """The Redis of a project's folder, started on entering and stopped on leaving.

    One that runs already is shared and left running, or with `share=False` refused, naming its process.
    `appendfsync` is "always" but for tests that want speed.
    """

    def __init__(self, folder: Path | str, *, appendfsync: Sync = "always", share: bool = True) -> None:
        self.place = Path(folder).resolve() / PLACE
        self.appendfsync = appendfsync
        self.share = share
        self.url, self.pid, self.owned = "", 0, False
        self._tcp: tuple[str, int] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Start the server, or find the one that runs. Raises SettingsError where neither can be."""
        try:
            self.place.mkdir(parents=True, exist_ok=True)
            self.place.chmod(0o700)
            lock = os.open(self.place / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SettingsError(f"the embedded Redis cannot use {self.place}: {error}") from error
        try:
            if self._take_or_share(lock):
                self._launch(lock)
                self._wait()
        except BaseException:
            self.stop()
            raise
        finally:
            os.close(lock)
        return self

    def find(self) -> str:
        """The URL of the server of this folder that runs already, or "": nothing is started for somebody who only looks."""
        with contextlib.suppress(redis.BusyLoadingError):
            url = self._read("url")
            if url and self._reach(url):
                return url
        return ""

    def client(self, **options: Any) -> redis.Redis:
        """A client of it; the caller closes it."""
        return redis.Redis.from_url(self.url, **options)

    def stop(self) -> None:
        """Stop the server if this object started it; it writes its file first. A shared one goes on."""
        process, self._process, self.owned = self._process, None, False
        if process is None:
            return
        for name in ("url", "redis.pid"):  # while the lock is held, lest they be those of the next start
            (self.place / name).unlink(missing_ok=True)
        process.terminate()
        try:
            process.wait(STOP_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """End it without a goodbye: for the tests of what that costs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process, self.owned = None, False

    def alive(self) -> bool:
        """Whether the server that this object started or shares still runs."""
        if self._process is not None:
            return self._process.poll() is None
        return bool(self.url) and self._reach(self.url) != 0

    def _take_or_share(self, lock: int) -> bool:
        """True with the lock taken; False where a running server is shared."""
        started, limit = time.monotonic(), ANSWER_WITHIN
        while True:
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            url = self._read("url")
            try:
                pid = self._reach(url) if url else 0
            except redis.BusyLoadingError:
                pid, limit = 0, LOAD_WITHIN
            if pid and not self.share:
                place = self.place.parent.parent
                raise SettingsError(f"the Redis of {place} is run by process {pid}: stop that one first")
            if pid:
                self.url, self.pid = url, pid
                return False
            if time.monotonic() - started > limit:
                holder = self._read("redis.pid") or "unknown"
                raise SettingsError(f"process {holder} holds {self.place} and gives no answer: kill {holder}")
            time.sleep(0.05)

    def _launch(self, lock: int) -> None:
        server = find_server()
        self.url, where = self._address()
        (self.place / "url").touch(mode=0o600)
        (self.place / "url").write_text(self.url)
        with (self.place / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                tied([server, "-"]),  # its settings come by stdin, so that the password is on no command line
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.place,
                process_group=0,  # Ctrl-C in a terminal must not reach it before its users are gone
                pass_fds=(lock,),
            )
        self.pid, self.owned = self._process.pid, True
        (self.place / "redis.pid").write_text(str(self.pid))
        with contextlib.suppress(BrokenPipeError), self._process.stdin or contextlib.nullcontext() as said:
            if said:  # it may end at once; the wait below says why
                said.write("\n".join([*where, *self._config()]).encode() + b"\n")

    def _address(self) -> tuple[str, list[str]]:
        """The URL, and the lines of the configuration that make it so."""
        path = self.place / "redis.sock"
        path.unlink(missing_ok=True)
        if len(os.fsencode(path)) <= LONGEST_SOCKET:
            socket_lines = ["port 0", f"unixsocket {_quoted(path)}", "unixsocketperm 700"]
            return f"unix://{quote(str(path))}", socket_lines
        if self._tcp is None:  # after a restart its clients must find it where it was
            self._tcp = secrets.token_urlsafe(32), _free_port()
        password, port = self._tcp
        return f"redis://:{password}@127.0.0.1:{port}/0", [f"port {port}", f"requirepass {password}"]

    def _config(self) -> list[str]:
        return [
            "bind 127.0.0.1",
            f"dir {_quoted(self.place)}",
            f"logfile {_quoted(self.place / 'redis.log')}",
            "daemonize no",
            "appendonly yes",
            f"appendfsync {self.appendfsync}",
            "no-appendfsync-on-rewrite no",
            'save ""',
            "maxmemory-policy noeviction",
            "tcp-keepalive 30",
            # Our hashes hold a few values of up to a kilobyte; packed they take a third of the memory.
            # These are the old names, which newer servers still know.
            "hash-max-ziplist-entries 64",
            "hash-max-ziplist-value 1024",
            # What is running is a sorted set of a hundred: searched by tree, not from its beginning.
            "zset-max-ziplist-entries 16",
        ]

    def _wait(self) -> None:
        started, log = time.monotonic(), self.place / "redis.log"
        while True:
            if self._process is None or self._process.poll() is not None:
                words = "\n".join(self._read("redis.log").splitlines()[-6:])
                raise SettingsError(f"the embedded Redis ended at once; the last of its log:\n{words}")
            try:
                if self._reach(self.url):
                    return
                limit = ANSWER_WITHIN
            except redis.BusyLoadingError:
                limit = LOAD_WITHIN
            if time.monotonic() - started > limit:
                raise SettingsError(f"the embedded Redis gave no answer within {limit:.0f} s; see {log}")
            time.sleep(0.01)

    def _reach(self, url: str) -> int:
        """The pid of the server that answers there with its data here, or 0. Raises BusyLoadingError."""
        once = Retry(NoBackoff(), 0)
        client = redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2, retry=once)
        try:
            place = client.config_get("dir")["dir"]
            info = client.info("server")
            if client.info("persistence")[
                "loading"
            ]:  # CONFIG and INFO are answered meanwhile, and nothing else
                raise redis.BusyLoadingError
        except (redis.RedisError, OSError) as error:
            if isinstance(error, redis.BusyLoadingError):
                raise
            return 0
        finally:
            client.close()
        # A copied folder brings the address of the folder it was copied from.
        return int(info["process_id"]) if Path(str(place)).resolve() == self.place else 0

    def _read(self, name: str) -> str:
        try:
            return (self.place / name).read_text().strip()
        except (OSError, UnicodeDecodeError):
            return ""


def _quoted(path: Path) -> str:
    """A path as redis.conf takes it, whatever characters are in it."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in os.fsencode(path)) + '"'


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
