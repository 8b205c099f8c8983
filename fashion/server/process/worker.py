"""A gunicorn worker that slow clients cannot keep busy, and that answers every accepted request when it stops."""

import collections
import contextlib
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn.http import errors
from gunicorn.workers.gthread import TConn, ThreadWorker

from fashion.server.security.headers import HEADERS
from fashion.server.security.login_limits import network_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

STATUS = {
    errors.LimitRequestLine: "414 URI Too Long",
    errors.LimitRequestHeaders: "431 Request Header Fields Too Large",
    errors.ExpectationFailed: "417 Expectation Failed",
    errors.UnsupportedTransferCoding: "501 Not Implemented",
}

# Half of what there is, so that one client cannot occupy all of it.
MAX_THREADS_PER_ADDRESS, MAX_CONNECTIONS_PER_ADDRESS = 128, 500
NO_DESCRIPTOR_SECONDS = 0.1


class ClosableConnection(TConn):  # type: ignore[misc]  # gunicorn has no annotations
    """A connection that may be closed twice.

    Args:
        on_close: Called when it is closed for the first time.
        connection: The arguments of gunicorn's connection.
    """

    def __init__(self, on_close: Callable[[], object], *connection: Any) -> None:
        super().__init__(*connection)
        self._on_close = contextlib.ExitStack()
        self._on_close.callback(on_close)

    def close(self, graceful: bool = False) -> None:
        """Close it, if it is open; gracefully: after the client has read what was sent."""
        with self._on_close:
            if self.sock.fileno() != -1:
                super().close(graceful)


class AddressLimit:
    """Counts something that clients use, and limits how much of it one address may.

    Args:
        limit: The limit; None for none, behind a proxy, which is one address.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._used: collections.Counter[str] = collections.Counter()
        self._lock = threading.Lock()

    def acquire(self, address: str) -> bool:
        """Return whether an address may use one more, which counts from now on; of IPv6, a network is one address."""
        network = network_of(address)
        with self._lock:
            if self._limit is not None and self._used[network] >= self._limit:
                return False
            self._used[network] += 1
        return True

    def release(self, address: str) -> None:
        """Count one less."""
        network = network_of(address)
        with self._lock:
            self._used[network] -= 1
            if not self._used[network]:
                del self._used[network]


class TimeLimitedWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, with time limits for slow clients.

    A new connection waits for its first byte without a thread. A request must arrive completely, head and body, within
    ``request_seconds``, however steadily it trickles in; then the reading side of its connection is closed. The client
    has as long to read the response, however steadily it reads; then the connection is closed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadlines: dict[socket.socket, tuple[float, int]] = {}  # and what to shut down then
        self._lock = threading.Lock()
        proxied = bool(self.app.settings.trusted_proxies)
        self._threads = AddressLimit(None if proxied else MAX_THREADS_PER_ADDRESS)
        self._connections = AddressLimit(None if proxied else MAX_CONNECTIONS_PER_ADDRESS)

    def load_wsgi(self) -> None:
        """Load the application, and limit how long its responses are being sent."""
        super().load_wsgi()
        respond = self.wsgi.wsgi_app

        def respond_in_time(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
            response: Iterable[bytes] = respond(environ, start_response)
            self._set_deadline(environ["gunicorn.socket"], socket.SHUT_RDWR)
            return response

        self.wsgi.wsgi_app = respond_in_time

    def accept(self, listener: socket.socket) -> bool:
        """Accept a connection, and wait for its first byte; close it if its address has too many.

        Returns:
            Whether there was one.
        """
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return False
        except OSError as error:  # out of file descriptors or memory: let the client wait, instead of ending the worker
            self.log.warning("cannot accept a connection (%s)", error.strerror)
            time.sleep(NO_DESCRIPTOR_SECONDS)
            return False
        if not self._connections.acquire(address[0]):
            client.close()
            return True
        self.nr_conns += 1
        client.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", self.app.settings.request_seconds, 0)
        )
        on_close = partial(self._connections.release, address[0])
        connection = ClosableConnection(on_close, self.cfg, client, address, listener.getsockname())
        connection.timeout = time.monotonic() + self.cfg.keepalive
        self.pending_conns.append(connection)
        self.poller.register(
            connection.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, connection)
        )
        return True

    def handle(self, conn: ClosableConnection) -> Any:
        """Read and answer a request, in a thread."""
        address = conn.client[0]
        if not self._threads.acquire(address):
            conn.close()
            return False
        self._set_deadline(conn.sock, socket.SHUT_RD)
        try:
            keep = super().handle(conn)
            if not keep:
                # gunicorn would do this in the thread that accepts connections, and a slow client would block it.
                with contextlib.suppress(OSError):
                    conn.close(graceful=True)
        finally:
            with self._lock:
                self._deadlines.pop(conn.sock, None)
            self._threads.release(address)
        return keep

    def murder_pending(self) -> None:
        """Close connections that sent nothing, and requests and responses that are late; called every second."""
        super().murder_pending()
        now = time.monotonic()
        with self._lock:
            late = {sock: how for sock, (deadline, how) in self._deadlines.items() if deadline < now}
            for sock in late:
                del self._deadlines[sock]
        for sock, how in late.items():
            with contextlib.suppress(OSError):
                sock.shutdown(how)

    def _set_deadline(self, sock: socket.socket, how: int) -> None:
        with self._lock:
            self._deadlines[sock] = time.monotonic() + self.app.settings.request_seconds, how

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
            while self.accept(listener):
                pass
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
