"""A gunicorn worker that slow clients cannot keep busy, and that loses nothing when it stops."""

import collections
import contextlib
import selectors
import socket
import struct
import threading
import time
from functools import partial
from typing import Any

from gunicorn.http import errors
from gunicorn.workers.gthread import TConn, ThreadWorker

from fashion.server.security.headers import HEADERS

STATUS = {
    errors.LimitRequestLine: "414 URI Too Long",
    errors.LimitRequestHeaders: "431 Request Header Fields Too Large",
    errors.ExpectationFailed: "417 Expectation Failed",
    errors.UnsupportedTransferCoding: "501 Not Implemented",
}


# From one address, where no proxy speaks for many: half of the threads, so that one client cannot hold all of them.
MOST_BUSY_PER_ADDRESS = 128
NO_DESCRIPTOR_SECONDS = 0.1


class Connection(TConn):
    """A connection that can be closed twice."""

    def close(self, graceful: bool = False) -> None:
        """Close it, unless it is closed; gracefully: after waiting for the client to read what was sent."""
        if self.sock.fileno() != -1:
            super().close(graceful)


class Worker(ThreadWorker):
    """Threads that read requests and answer them, after gunicorn's own.

    A new connection waits for its first byte without a thread. A request has a time by which it must have come
    completely, head and body, however steadily it trickles in; then the reading side of its connection is closed. As
    long may an answer wait for a client that does not read.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadlines: dict[Connection, float] = {}
        self._busy: collections.Counter[str] = collections.Counter()  # threads by address
        self._lock = threading.Lock()  # of both

    def accept(self, listener: socket.socket) -> None:
        """Take a connection and wait for its first byte."""
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptor or memory is free: the client waits, instead of the worker ending
            self.log.warning("cannot take a connection (%s)", error.strerror)
            time.sleep(NO_DESCRIPTOR_SECONDS)
            return
        self.nr_conns += 1
        client.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", self.app.settings.request_seconds, 0)
        )
        connection = Connection(self.cfg, client, address, listener.getsockname())
        connection.timeout = time.monotonic() + self.cfg.keepalive
        self.pending_conns.append(connection)
        self.poller.register(
            connection.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, connection)
        )

    def handle(self, conn: Connection) -> Any:
        """Read a request and answer it, in a thread."""
        address = conn.client[0]
        with self._lock:
            if self._busy[address] >= MOST_BUSY_PER_ADDRESS and not self.app.settings.trusted_proxies:
                conn.close()
                return False
            self._busy[address] += 1
            self._deadlines[conn] = time.monotonic() + self.app.settings.request_seconds
        try:
            keep = super().handle(conn)
        finally:
            with self._lock:
                self._deadlines.pop(conn, None)
                self._busy[address] -= 1
                if not self._busy[address]:
                    del self._busy[address]
        if not keep:
            # gunicorn does this where connections are accepted, and a client that stays would hold that up for seconds.
            with contextlib.suppress(OSError):
                conn.close(graceful=True)
        return keep

    def murder_pending(self) -> None:
        """Give up connections that sent nothing, and requests that are late; called every second."""
        super().murder_pending()
        now = time.monotonic()
        with self._lock:
            late = [connection for connection, deadline in self._deadlines.items() if deadline < now]
            for connection in late:
                del self._deadlines[connection]
        for connection in late:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RD)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Start or stop taking connections; before the last stop, take those that the system has accepted already.

        Of several processes all but the first take none before their model is loaded (gunicorn asks again every
        second): one that only says "not ready" is quick, and would draw most requests away from those that predict.
        """
        if enabled and self.age > 1 and self.app.settings.processes > 1 and not self.app.model.ready:
            return
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            before = -1
            while before != self.nr_conns:
                before = self.nr_conns
                self.accept(listener)
            listener.close()  # at once: from now on the system refuses, instead of taking what nobody will answer

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: tell the application that it is no longer ready."""
        self.app.model.stopping.set()
        super().handle_exit(sig, frame)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer what is not HTTP, and so never reaches the application, like the application would."""
        if isinstance(exc, errors.ParseException):
            self.log.warning("request that is not HTTP: %s", type(exc).__name__)
            status = STATUS.get(type(exc), "400 Bad Request")
        else:
            self.log.error("error in a request", exc_info=exc)
            status = "500 Internal Server Error"
        code, _, title = status.partition(" ")
        body = f'{{"type":"about:blank","title":"{title}","status":{code}}}'
        headers = {
            **HEADERS,
            "Connection": "close",
            "Content-Type": "application/problem+json",
            "Content-Length": len(body),
        }
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items()), "", body]
        with contextlib.suppress(OSError):
            client.sendall("\r\n".join(lines).encode())
