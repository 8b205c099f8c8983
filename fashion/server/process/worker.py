"""A gunicorn worker that slow clients cannot keep busy, and that answers every accepted request when it stops."""

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

# Half of the threads, so that one client cannot occupy all of them; not applied behind a proxy, which is one address.
MAX_THREADS_PER_ADDRESS = 128
NO_DESCRIPTOR_SECONDS = 0.1


class ClosableConnection(TConn):  # type: ignore[misc]  # gunicorn has no annotations
    """A connection that may be closed twice."""

    def close(self, graceful: bool = False) -> None:
        """Close it, if it is open; gracefully: after the client has read what was sent."""
        if self.sock.fileno() != -1:
            super().close(graceful)


class TimeLimitedWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, with time limits for slow clients.

    A new connection waits for its first byte without a thread. A request must arrive completely, head and body, within
    ``request_seconds``, however steadily it trickles in; then the reading side of its connection is closed. A response
    waits as long for a client that does not read.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadlines: dict[ClosableConnection, float] = {}
        self._threads_in_use: collections.Counter[str] = collections.Counter()  # by address
        self._lock = threading.Lock()  # of both

    def accept(self, listener: socket.socket) -> None:
        """Accept a connection, and wait for its first byte."""
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # out of file descriptors or memory: let the client wait, instead of ending the worker
            self.log.warning("cannot accept a connection (%s)", error.strerror)
            time.sleep(NO_DESCRIPTOR_SECONDS)
            return
        self.nr_conns += 1
        client.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", self.app.settings.request_seconds, 0)
        )
        connection = ClosableConnection(self.cfg, client, address, listener.getsockname())
        connection.timeout = time.monotonic() + self.cfg.keepalive
        self.pending_conns.append(connection)
        self.poller.register(
            connection.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, connection)
        )

    def handle(self, conn: ClosableConnection) -> Any:
        """Read and answer a request, in a thread."""
        address = conn.client[0]
        with self._lock:
            if self._threads_in_use[address] >= MAX_THREADS_PER_ADDRESS and not self.app.settings.trusted_proxies:
                conn.close()
                return False
            self._threads_in_use[address] += 1
            self._deadlines[conn] = time.monotonic() + self.app.settings.request_seconds
        try:
            keep = super().handle(conn)
        finally:
            with self._lock:
                self._deadlines.pop(conn, None)
                self._threads_in_use[address] -= 1
                if not self._threads_in_use[address]:
                    del self._threads_in_use[address]
        if not keep:
            # gunicorn would do this in the thread that accepts connections, and a slow client would block it.
            with contextlib.suppress(OSError):
                conn.close(graceful=True)
        return keep

    def murder_pending(self) -> None:
        """Close connections that sent nothing and requests that are late; called every second."""
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
        """Start or stop accepting connections; before the final stop, accept those already in the system's queue.

        Of several processes, all but the first accept none before their model is loaded (gunicorn asks again every
        second): a process that only answers "not ready" is fast, and would attract most of the requests.
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
            listener.close()  # at once, so that the system refuses connections that nobody would answer

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM: report from now on that the server is not ready."""
        self.app.model.stopping.set()
        super().handle_exit(sig, frame)

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer what is not valid HTTP, and so never reaches the application, in the application's form."""
        if isinstance(exc, errors.ParseException):
            self.log.warning("not a valid HTTP request: %s", type(exc).__name__)
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
