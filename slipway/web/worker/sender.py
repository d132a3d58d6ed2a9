"""The sending half of the loop: it calls applications and sends their responses."""

from __future__ import annotations

import io
import itertools
import select
import socket
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER

from slipway.core.errors import TakesLong
from slipway.web.headers import ON_LOOP, Wsgi
from slipway.web.worker import connection, timeouts
from slipway.web.worker.access_log import AccessLog
from slipway.web.worker.connection import Client, Request
from slipway.web.worker.error_responses import service_unavailable
from slipway.web.worker.response import AppResult, Call
from slipway.web.worker.thread_pool import ThreadPool
from slipway.web.worker.timeouts import DeadlineSocket, HandedOffConnection

# The loop reads what a client sends after its response for this time, and up to this size. Clients
# that upload too large a file can then read the error, and endless uploads are cut off.
DRAIN_SECONDS = 2.0
DRAIN_BYTES = 32 * 2**20


class Sender:
    """The clients of a worker, and their responses.

    Parameters
    ----------
    worker : LoopWorker
        Its threads serve the requests that the loop does not serve.
    """

    def __init__(self, worker: Any) -> None:
        self.worker, self.cfg = worker, worker.cfg
        self.epoll = select.epoll()
        self.access_log = AccessLog(worker)
        self.clients: dict[int, Client] = {}
        self.pipelined: deque[Client] = deque()
        self.client_pool = ThreadPool(worker.tpool)
        # Threads of ``client_pool`` may wait for slow clients; these only call the application.
        self.app_pool = ThreadPool(ThreadPoolExecutor(self.cfg.threads))
        self.now = 0.0

    @property
    def n_in_threads(self) -> int:
        """Return the number of clients that use a thread or wait for one."""
        return self.client_pool.size + self.app_pool.size

    def serve(self, client: Client, wsgi: Wsgi) -> None:
        """Call an application, and send its response."""
        is_app = wsgi is self.worker.wsgi
        call = self.begin_call(client, counts_as_request=is_app)
        if is_app:
            call.request.environ[ON_LOOP] = True
        try:
            call.log_entry = self.access_log.begin(call.request.environ)
            app_result = call.run(wsgi)
        except TakesLong:
            return self.call_in_thread(client, call)
        except Exception as error:
            return self.send_error(client, call, error)
        return self.send_response(client, call, app_result)

    def serve_in_thread(self, client: Client) -> None:
        """Serve a complete request in a thread."""
        call = self.begin_call(client, counts_as_request=True)
        try:
            call.log_entry = self.access_log.begin(call.request.environ)
        except Exception as error:
            return self.send_error(client, call, error)
        return self.call_in_thread(client, call)

    def call_in_thread(self, client: Client, call: Call) -> None:
        """Call the application in a thread; the loop sends the response."""
        if self.app_pool.is_full(self.now):
            return self.send_response(client, call, call.run(service_unavailable))
        call.request.environ.pop(ON_LOOP, None)
        call.request.environ["wsgi.input"].seek(0)

        def finish(done: Future[AppResult]) -> None:
            if done.cancelled():
                return self.send_response(client, call, call.run(service_unavailable))
            error = done.exception()
            if error is not None:
                return self.send_error(client, call, error)
            return self.send_response(client, call, done.result())

        run = partial(call.run, self.worker.wsgi)
        return self.submit_for_client(client, self.app_pool, finish, run, queued_at=self.now)

    def send_response(self, client: Client, call: Call, app_result: AppResult) -> None:
        """Send the response of an application."""
        (returned, pieces, first_piece), request, response = app_result, call.request, call.response
        try:
            if not response.is_short:
                rest = response.iterate_body(first_piece, pieces, request.minor)
                head = response.build_head(request, call.keep)
                return self.run_in_thread(
                    client, self.send_long_response, client, call, head, rest, returned
                )
            body = response.build_body(first_piece, pieces)
            close(returned)
            keep = call.keep and (not response.has_body or len(body) == response.length)
            out = response.build_head(request, keep) + body
        except Exception as error:
            return self.send_error(client, call, error)
        self.access_log.end(call.log_entry, request.environ, response)
        return self.send(client, out, keep)

    def send_error(self, client: Client, call: Call, error: BaseException) -> None:
        """Handle an exception of the application with Gunicorn's code."""
        description = self.access_log.describe_request(call.request.environ)
        self.worker.handle_error(description, client.sock, client.address, error)
        return self.drain(client)

    def begin_call(self, client: Client, *, counts_as_request: bool) -> Call:
        """Return the call of a request, and remove the request from its client's bytes."""
        worker = self.worker
        request = client.request or Request(client.environ.copy(), 0, 0, 1, False)
        client.request = None
        environ, data = request.environ, client.data
        environ["wsgi.input"] = io.BytesIO(data[request.begin : request.end])
        client.data = connection.after_bytes(data, request.end)
        worker.nr += counts_as_request
        if worker.nr >= worker.max_requests and worker.alive:
            worker.log.info("Autorestarting worker after current request.")
            worker.alive = False
        is_queued = client.state == connection.QUEUED
        return Call(
            request, bool(is_queued and request.keep and worker.alive and self.cfg.keepalive)
        )

    def send(self, client: Client, out: bytes | memoryview, keep: bool) -> None:
        """Send bytes, the rest when the client's socket is writable."""
        try:
            sent = client.sock.send(out)
        except BlockingIOError:
            sent = 0
        except OSError:
            return self.close(client)
        if sent == len(out):
            return self.finish_response(client, keep)
        client.unsent, client.keep = memoryview(out)[sent:], keep
        # As in ``DeadlineSocket``, the client must receive at a minimum rate.
        latest = self.now + timeouts.SEND_TIMEOUT
        earned = client.deadline + sent / timeouts.MIN_BYTES_PER_SECOND
        client.deadline = min(earned, latest) if client.state == connection.SENDING else latest
        client.state, client.is_paused = connection.SENDING, True
        return self.epoll.modify(client.fd, select.EPOLLOUT)

    def finish_response(self, client: Client, keep: bool) -> None:
        """Wait for the client's next request, or end the connection."""
        if not keep:
            return self.drain(client)
        client.state, client.unsent = connection.IDLE, b""
        # The response may have had keep-alive before the worker stopped.
        stopping = not self.worker.alive
        seconds = min(self.cfg.keepalive, STOP_KEEPALIVE_LINGER) if stopping else self.cfg.keepalive
        client.deadline = self.now + seconds
        if client.data:
            return self.pipelined.append(client)
        return self.resume_reading(client)

    def resume_reading(self, client: Client) -> None:
        """Read again from a client without a complete request."""
        if client.is_paused:
            self.epoll.modify(client.fd, select.EPOLLIN)
            client.is_paused = False

    def drain(self, client: Client) -> None:
        """Shut down sending, and discard what the client still sends.

        If the loop closed the socket now, the kernel could drop the response with the unread bytes.
        """
        self.resume_reading(client)
        client.data, client.unsent, client.drain_left = b"", b"", DRAIN_BYTES
        client.state, client.deadline = connection.DRAINING, self.now + DRAIN_SECONDS
        try:
            client.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close(client)

    def close(self, client: Client) -> None:
        """Close a connection."""
        del self.clients[client.fd]
        client.state = connection.CLOSED
        client.sock.close()

    def hand_over(self, client: Client) -> None:
        """Serve a client's request with Gunicorn's own code, in a thread."""
        if self.client_pool.is_full(self.now):
            return self.serve(client, service_unavailable)
        return self.run_in_thread(client, self.serve_with_gunicorn, client, queued_at=self.now)

    def serve_with_gunicorn(self, client: Client) -> bool:
        """Serve a request with Gunicorn's own code, and return whether to keep the connection."""
        conn = HandedOffConnection(self.cfg, client)
        keep = self.worker.handle(conn) is True
        client.data = conn.parser.unreader.read_remaining()
        return keep

    def send_long_response(
        self, client: Client, call: Call, head: bytes, pieces: Iterable[bytes], returned: Any
    ) -> bool:
        """Send a long response from a thread, and return whether to keep the connection."""
        response = call.response
        try:
            deadline_socket = DeadlineSocket(client.sock)
            for piece in itertools.chain([head], pieces):
                deadline_socket.sendall(piece)
            is_chunked = response.length is None and call.request.minor == 1
            return call.keep and (is_chunked or response.sent == response.length)
        finally:
            self.access_log.end(call.log_entry, call.request.environ, response)
            close(returned)

    def run_in_thread(
        self,
        client: Client,
        function: Callable[..., bool],
        *args: Any,
        queued_at: float | None = None,
    ) -> None:
        """Call a function that uses a client's socket, in a thread."""

        def finish(done: Future[bool]) -> None:
            if done.cancelled():
                return self.serve(client, service_unavailable)
            return self.finish_response(client, done.exception() is None and done.result())

        self.submit_for_client(
            client, self.client_pool, finish, partial(function, *args), queued_at=queued_at
        )

    def submit_for_client(
        self,
        client: Client,
        pool: ThreadPool,
        on_done: Callable[[Future[Any]], None],
        function: Callable[[], Any],
        queued_at: float | None = None,
    ) -> None:
        """Call a function in a thread, and ignore the client until the function returns."""
        self.epoll.unregister(client.fd)
        del self.clients[client.fd]
        client.state, client.is_paused = connection.CLOSED, False
        defer = self.worker.method_queue.defer
        future = pool.submit(function, queued_at=queued_at)
        future.add_done_callback(
            lambda done: defer(self.return_client, client, pool, on_done, done)
        )

    def return_client(
        self,
        client: Client,
        pool: ThreadPool,
        on_done: Callable[[Future[Any]], None],
        done: Future[Any],
    ) -> None:
        """Register a client on the loop again after its thread has finished."""
        pool.size -= 1
        client.request = None
        if client.sock.fileno() < 0:
            return None
        client.sock.setblocking(False)
        self.clients[client.fd] = client
        self.epoll.register(client.fd, select.EPOLLIN)
        return on_done(done)


def close(returned: Any) -> None:
    """Close the iterable of an application, if it has ``close``."""
    closing = getattr(returned, "close", None)
    if closing:
        closing()
