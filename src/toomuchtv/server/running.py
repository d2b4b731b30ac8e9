"""Runs the application with uvicorn: its socket, its timeouts, and a quick end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from toomuchtv.errors import SearchError
from toomuchtv.server.security import SECURITY_HEADERS

_HEADER_SECONDS = 15.0
_KEEP_ALIVE_SECONDS = 20
_MAX_CONNECTIONS = 512
_GRACEFUL_SECONDS = 2
# A search that has begun cannot be stopped, but nobody waits for it any more.
_END_SECONDS = 5.0


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address; port 0 chooses a free one.

    Raises:
        SearchError: The port is in use, or the address is not one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise SearchError(f"there is no address {host!r}: {error}") from error
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(256)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise SearchError(
                f"port {port} of {host} is in use: choose another one with --port, or 0 for any "
                "that is free"
            ) from error
        raise SearchError(f"cannot listen on port {port} of {host}: {error.strerror}") from error
    return bound


class _Protocol(H11Protocol):
    """HTTP/1.1 that ends connections on which no whole request head arrives in time."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > _MAX_CONNECTIONS:
            transport.abort()
            return
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_timer()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, with the headers of every other answer."""
        body = json.dumps({"detail": msg}).encode()
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
            ("Cache-Control", "no-store"),
            *SECURITY_HEADERS.items(),
        ]
        for event in (
            h11.Response(status_code=400, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _watch_head(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(_HEADER_SECONDS, self._end_late)

    def _end_late(self) -> None:
        self._head_timer = None
        # Between two requests, the timer of uvicorn counts.
        if self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None:
            self.transport.abort()

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class _Server(uvicorn.Server):
    """A server that tells when it listens, and whose end by a signal is no error."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._on_start()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(
    app: ASGIApp,
    bound: socket.socket,
    *,
    on_start: Callable[[], None] = lambda: None,
    on_late_end: Callable[[], None] = lambda: None,
) -> None:
    """Answer requests until SIGINT or SIGTERM, in the main thread, or `app` fails.

    Args:
        app: The application.
        bound: The socket, which is closed at the end.
        on_start: Called once it listens.
        on_late_end: Called before the process ends with code 0 although a request still runs.
    """
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACEFUL_SECONDS,
        h11_max_incomplete_event_size=32 << 10,
    )
    server = _Server(config, on_start)
    is_done = threading.Event()

    def end_late() -> None:
        while not server.should_exit:
            if is_done.wait(0.2):
                return
        if not is_done.wait(_END_SECONDS):
            on_late_end()
            os._exit(0)

    threading.Thread(target=end_late, name="end of the server", daemon=True).start()
    try:
        server.run(sockets=[bound])
    finally:
        is_done.set()
        bound.close()
