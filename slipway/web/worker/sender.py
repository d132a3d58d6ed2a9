"""The sending half of the loop: applications are called, and clients get their answers."""

from __future__ import annotations

import io
import itertools
import select
import socket
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER

from slipway.web.worker import timeouts as clients
from slipway.web.worker.access_log import Watch
from slipway.web.worker.error_responses import busy
from slipway.web.worker.request_parser import Request
from slipway.web.worker.response import Answer
from slipway.web.worker.thread_pool import Pool
from slipway.web.worker.timeouts import Client, HandedOver, Receiver

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
        self.watch = Watch(worker)
        self.clients: dict[int, Client] = {}
        self.more: deque[Client] = deque()
        self.pool = Pool(worker)
        self.now = 0.0

    def answer(self, client: Client, wsgi: Callable[..., Iterable[bytes]]) -> None:
        """Call an application, and send what it answers."""
        request, keep = self.take(client, counts=wsgi is self.worker.wsgi)
        environ, answer = request.environ, Answer()
        try:
            begun = self.watch.begin(environ)
            result = wsgi(environ, answer.start)
            pieces = iter(result)
            # The application may tell its status only with the first piece.
            first = next(pieces, b"")
            if not answer.is_short:
                made = answer.pieces(first, pieces, request.minor)
                head = answer.head(request, keep)
                send = partial(self.send_long, client, begun, request, answer, head)
                return self.to_pool(client, send, made, result, keep)
            body = answer.body(first, pieces)
            close(result)
            keep = keep and (not answer.has_body or len(body) == answer.length)
            out = answer.head(request, keep) + body
        except Exception as error:
            seen = self.watch.request(environ)
            self.worker.handle_error(seen, client.sock, client.address, error)
            return self.drain(client)
        self.watch.end(begun, environ, answer)
        return self.send(client, out, keep)

    def take(self, client: Client, *, counts: bool) -> tuple[Request, bool]:
        """Take a request from its client's bytes, and say whether the connection goes on."""
        worker = self.worker
        request = client.request or Request(client.environ.copy(), 0, 0, 1, False)
        client.request = None
        environ, data = request.environ, client.data
        environ["wsgi.input"] = io.BytesIO(data[request.begin : request.end])
        client.data = clients.without(data, request.end)
        worker.nr += counts
        if worker.nr >= worker.max_requests and worker.alive:
            worker.log.info("Autorestarting worker after current request.")
            worker.alive = False
        whole = client.state == clients.QUEUED
        return request, bool(whole and request.keep and worker.alive and self.cfg.keepalive)

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
        # As with ``Receiver``: who takes some must keep to a rate.
        latest = self.now + clients.SEND_SECONDS
        earned = client.deadline + sent / clients.BYTES_A_SECOND
        client.deadline = min(earned, latest) if client.state == clients.SENDING else latest
        client.state, client.masked = clients.SENDING, True
        return self.epoll.modify(client.fd, select.EPOLLOUT)

    def go_on(self, client: Client, keep: bool) -> None:
        """Wait for a client's next request, or end its connection."""
        if not keep:
            return self.drain(client)
        client.state, client.out = clients.IDLE, b""
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
        client.state, client.deadline = clients.DRAINING, self.now + DRAIN_SECONDS
        try:
            client.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.close(client)

    def close(self, client: Client) -> None:
        """End a connection."""
        del self.clients[client.fd]
        client.state = clients.CLOSED
        client.sock.close()

    def hand_over(self, client: Client) -> None:
        """Let Gunicorn's own code answer a client's request, in a thread."""
        if self.pool.is_full(self.now):
            return self.answer(client, busy)
        return self.to_pool(client, self.by_gunicorn, client, since=self.now)

    def by_gunicorn(self, client: Client) -> bool:
        """Answer a request as Gunicorn does, and say whether the connection goes on."""
        conn = HandedOver(self.cfg, client)
        keep = self.worker.handle(conn) is True
        client.data = conn.parser.unreader.rest()
        return keep

    def send_long(
        self,
        client: Client,
        begun: Any,
        request: Request,
        answer: Answer,
        head: bytes,
        pieces: Iterable[bytes],
        result: Any,
        keep: bool,
    ) -> bool:
        """Send a long answer from a thread, at its client's pace."""
        try:
            receiver = Receiver(client.sock)
            for piece in itertools.chain([head], pieces):
                receiver.sendall(piece)
            framed = request.minor == 1 if answer.length is None else answer.sent == answer.length
            return keep and framed
        finally:
            self.watch.end(begun, request.environ, answer)
            close(result)

    def to_pool(
        self, client: Client, do: Callable[..., bool], *words: Any, since: float | None = None
    ) -> None:
        """Let a thread do something with a client's socket, which the loop then leaves alone."""
        self.epoll.unregister(client.fd)
        del self.clients[client.fd]
        client.state, client.masked = clients.CLOSED, False
        back = self.worker.method_queue.defer
        future = self.pool.submit(do, *words, since=since)
        future.add_done_callback(lambda done: back(self.take_back, client, done))

    def take_back(self, client: Client, done: Future[bool]) -> None:
        """Go on with a client when its thread has ended."""
        self.pool.size -= 1
        client.request = None
        if client.sock.fileno() < 0:
            return None
        client.sock.setblocking(False)
        self.clients[client.fd] = client
        self.epoll.register(client.fd, select.EPOLLIN)
        if done.cancelled():
            return self.answer(client, busy)
        return self.go_on(client, done.exception() is None and done.result())


def close(result: Any) -> None:
    """Close what an application returned, if it wants that."""
    closing = getattr(result, "close", None)
    if closing:
        closing()
