"""The sending half of the loop: applications are called, and clients get their answers."""

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
from slipway.web.worker.response import Call, Called
from slipway.web.worker.thread_pool import ThreadPool
from slipway.web.worker.timeouts import DeadlineSocket, HandedOffConnection

# What a client still sends after its answer is read this long, and up to this much: who sends a
# file that is too large is to see the refusal, and who sends for ever is to be cut off.
DRAIN_SECONDS = 2.0
DRAIN_BYTES = 32 * 2**20


class Sender:
    """What a worker's clients get.

    Parameters
    ----------
    worker : LoopWorker
        Its threads take what the loop hands over.
    """

    def __init__(self, worker: Any) -> None:
        self.worker, self.cfg = worker, worker.cfg
        self.epoll = select.epoll()
        self.watch = AccessLog(worker)
        self.clients: dict[int, Client] = {}
        self.more: deque[Client] = deque()
        self.pool = ThreadPool(worker.tpool)
        # Those threads may wait for slow clients; these only call the application.
        self.callers = ThreadPool(ThreadPoolExecutor(self.cfg.threads))
        self.now = 0.0

    @property
    def n_lent(self) -> int:
        """Clients that are with the threads, or wait for one."""
        return self.pool.size + self.callers.size

    def answer(self, client: Client, wsgi: Wsgi) -> None:
        """Call an application, and send what it answers."""
        own = wsgi is self.worker.wsgi
        call = self.take(client, counts=own)
        if own:
            call.request.environ[ON_LOOP] = True
        try:
            call.begun = self.watch.begin(call.request.environ)
            called = call.run(wsgi)
        except TakesLong:
            return self.call_in_thread(client, call)
        except Exception as error:
            return self.fail(client, call, error)
        return self.deliver(client, call, called)

    def leave_to_thread(self, client: Client) -> None:
        """Let a thread call the application with a whole request."""
        call = self.take(client, counts=True)
        try:
            call.begun = self.watch.begin(call.request.environ)
        except Exception as error:
            return self.fail(client, call, error)
        return self.call_in_thread(client, call)

    def call_in_thread(self, client: Client, call: Call) -> None:
        """Call the application in a thread; the loop sends what it answers."""
        if self.callers.is_full(self.now):
            return self.deliver(client, call, call.run(service_unavailable))
        call.request.environ.pop(ON_LOOP, None)
        call.request.environ["wsgi.input"].seek(0)

        def called(done: Future[Called]) -> None:
            if done.cancelled():
                return self.deliver(client, call, call.run(service_unavailable))
            error = done.exception()
            if error is not None:
                return self.fail(client, call, error)
            return self.deliver(client, call, done.result())

        run = partial(call.run, self.worker.wsgi)
        return self.lend(client, self.callers, called, run, since=self.now)

    def deliver(self, client: Client, call: Call, called: Called) -> None:
        """Send what an application has answered."""
        (result, pieces, first), request, answer = called, call.request, call.answer
        try:
            if not answer.is_short:
                made = answer.pieces(first, pieces, request.minor)
                head = answer.head(request, call.keep)
                return self.to_pool(client, self.send_long, client, call, head, made, result)
            body = answer.body(first, pieces)
            close(result)
            keep = call.keep and (not answer.has_body or len(body) == answer.length)
            out = answer.head(request, keep) + body
        except Exception as error:
            return self.fail(client, call, error)
        self.watch.end(call.begun, request.environ, answer)
        return self.send(client, out, keep)

    def fail(self, client: Client, call: Call, error: BaseException) -> None:
        """Answer a fault of the application as Gunicorn does."""
        seen = self.watch.request(call.request.environ)
        self.worker.handle_error(seen, client.sock, client.address, error)
        return self.drain(client)

    def take(self, client: Client, *, counts: bool) -> Call:
        """Take a request from its client's bytes."""
        worker = self.worker
        request = client.request or Request(client.environ.copy(), 0, 0, 1, False)
        client.request = None
        environ, data = request.environ, client.data
        environ["wsgi.input"] = io.BytesIO(data[request.begin : request.end])
        client.data = connection.after_bytes(data, request.end)
        worker.nr += counts
        if worker.nr >= worker.max_requests and worker.alive:
            worker.log.info("Autorestarting worker after current request.")
            worker.alive = False
        whole = client.state == connection.QUEUED
        return Call(request, bool(whole and request.keep and worker.alive and self.cfg.keepalive))

    def send(self, client: Client, out: bytes | memoryview, keep: bool) -> None:
        """Send bytes; what the client does not take now is sent when it can."""
        try:
            sent = client.sock.send(out)
        except BlockingIOError:
            sent = 0
        except OSError:
            return self.close(client)
        if sent == len(out):
            return self.go_on(client, keep)
        client.out, client.keep = memoryview(out)[sent:], keep
        # As with ``DeadlineSocket``: who takes some must keep to a rate.
        latest = self.now + timeouts.SEND_SECONDS
        earned = client.deadline + sent / timeouts.BYTES_A_SECOND
        client.deadline = min(earned, latest) if client.state == connection.SENDING else latest
        client.state, client.masked = connection.SENDING, True
        return self.epoll.modify(client.fd, select.EPOLLOUT)

    def go_on(self, client: Client, keep: bool) -> None:
        """Wait for a client's next request, or end its connection."""
        if not keep:
            return self.drain(client)
        client.state, client.out = connection.IDLE, b""
        # The answer may have promised this before the worker was told to stop.
        stopping = not self.worker.alive
        seconds = min(self.cfg.keepalive, STOP_KEEPALIVE_LINGER) if stopping else self.cfg.keepalive
        client.deadline = self.now + seconds
        if client.data:
            return self.more.append(client)
        return self.hear(client)

    def hear(self, client: Client) -> None:
        """Read again from a client of whom no whole request waits."""
        if client.masked:
            self.epoll.modify(client.fd, select.EPOLLIN)
            client.masked = False

    def drain(self, client: Client) -> None:
        """Say that there will be no more, and take what the client still sends.

        Closing at once would make the kernel drop the answer along with what was not read.
        """
        self.hear(client)
        client.data, client.out, client.left = b"", b"", DRAIN_BYTES
        client.state, client.deadline = connection.DRAINING, self.now + DRAIN_SECONDS
        try:
            client.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close(client)

    def close(self, client: Client) -> None:
        """End a connection."""
        del self.clients[client.fd]
        client.state = connection.CLOSED
        client.sock.close()

    def hand_over(self, client: Client) -> None:
        """Let Gunicorn's own code answer a client's request, in a thread."""
        if self.pool.is_full(self.now):
            return self.answer(client, service_unavailable)
        return self.to_pool(client, self.by_gunicorn, client, since=self.now)

    def by_gunicorn(self, client: Client) -> bool:
        """Answer a request as Gunicorn does, and say whether the connection goes on."""
        conn = HandedOffConnection(self.cfg, client)
        keep = self.worker.handle(conn) is True
        client.data = conn.parser.unreader.rest()
        return keep

    def send_long(
        self, client: Client, call: Call, head: bytes, pieces: Iterable[bytes], result: Any
    ) -> bool:
        """Send a long answer from a thread, at its client's pace."""
        answer = call.answer
        try:
            receiver = DeadlineSocket(client.sock)
            for piece in itertools.chain([head], pieces):
                receiver.sendall(piece)
            is_chunked = answer.length is None and call.request.minor == 1
            return call.keep and (is_chunked or answer.sent == answer.length)
        finally:
            self.watch.end(call.begun, call.request.environ, answer)
            close(result)

    def to_pool(
        self, client: Client, do: Callable[..., bool], *words: Any, since: float | None = None
    ) -> None:
        """Let a thread do something with a client's socket, which the loop then leaves alone."""

        def ended(done: Future[bool]) -> None:
            if done.cancelled():
                return self.answer(client, service_unavailable)
            return self.go_on(client, done.exception() is None and done.result())

        self.lend(client, self.pool, ended, partial(do, *words), since=since)

    def lend(
        self,
        client: Client,
        pool: ThreadPool,
        then: Callable[[Future[Any]], None],
        do: Callable[[], Any],
        since: float | None = None,
    ) -> None:
        """Let a thread do something for a client, whom the loop does not hear until then."""
        self.epoll.unregister(client.fd)
        del self.clients[client.fd]
        client.state, client.masked = connection.CLOSED, False
        back = self.worker.method_queue.defer
        future = pool.submit(do, since=since)
        future.add_done_callback(lambda done: back(self.take_back, client, pool, then, done))

    def take_back(
        self,
        client: Client,
        pool: ThreadPool,
        then: Callable[[Future[Any]], None],
        done: Future[Any],
    ) -> None:
        """Go on with a client when its thread has ended."""
        pool.size -= 1
        client.request = None
        if client.sock.fileno() < 0:
            return None
        client.sock.setblocking(False)
        self.clients[client.fd] = client
        self.epoll.register(client.fd, select.EPOLLIN)
        return then(done)


def close(result: Any) -> None:
    """Close what an application returned, if it wants that."""
    closing = getattr(result, "close", None)
    if closing:
        closing()
