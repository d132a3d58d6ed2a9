"""The loop: one thread that reads all clients and serves short requests."""

from __future__ import annotations

import errno
import gc
import select
import sys
import time
from collections import deque
from typing import Any

from gunicorn.workers.gthread import STOP_KEEPALIVE_LINGER

from slipway.web.worker import connection, timeouts
from slipway.web.worker.connection import NEVER, Client, Request
from slipway.web.worker.error_responses import request_timeout, service_unavailable
from slipway.web.worker.request_parser import MAX_HEAD, IncompleteError, Reader
from slipway.web.worker.sender import Sender
from slipway.web.worker.thread_pool import MAX_WAIT

# The path that is never rejected.
LIVENESS_PATH = "/livez"
# A thread serves the requests with longer heads, because some headers take long to parse.
LONG_HEAD = 2048
# Seconds of serving between two reads of new requests.
SERVE_SECONDS = 0.01
# A computing thread holds Python's lock for this time while the loop waits, plus 0.05 ms from the
# kernel's timer. The loop waits several times per request: 15 ms in total with Python's default of
# 5 ms. With 0.001 ms the threads mostly switch, and a prediction can take a second.
SWITCH_SECONDS = 0.00002
# Collections of younger objects between two full collections; Python's default is 10. A full
# collection holds the lock for 7 ms during a file of invalid rows, and each such file causes one.
OLD_COLLECTIONS = 1000
# After a pause of the machine, all pending requests look overdue. A request counts as overdue only
# if it has also waited for more than this number of iterations.
MIN_ITERATIONS = 3
RECEIVE_BYTES = 64 * 1024
ACCEPTS_WHEN_BUSY = 64


class EventLoop(Sender):
    """The event loop of a worker.

    Parameters
    ----------
    worker : LoopWorker
        Its threads serve the requests that the loop does not serve.
    """

    def __init__(self, worker: Any) -> None:
        super().__init__(worker)
        self.reader = Reader(worker.cfg)
        # An application may define which of its requests need a thread.
        self.needs_thread = getattr(worker.wsgi, "needs_thread", lambda _environ: False)
        self.listeners = {listener.fileno(): listener for listener in worker.sockets}
        self.listening = False
        self.ready: deque[Client] = deque()
        self.next_tick = 0.0
        self.n_iterations = 0
        self.tick_seconds = 1.0

    def run(self) -> None:
        """Serve until the worker stops, and finish pending requests."""
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.set_threshold(*gc.get_threshold()[:2], OLD_COLLECTIONS)
        self.epoll.register(self.worker.method_queue.fileno(), select.EPOLLIN)
        self.now = time.monotonic()
        self.listen(True)
        while self.worker.alive:
            self.run_once()
        self.stop()

    def stop(self) -> None:
        """Finish pending requests within ``graceful_timeout``, and close everything."""
        self.listen(False)
        self.now, self.tick_seconds = time.monotonic(), 0.1
        end = self.now + self.cfg.graceful_timeout
        # As in Gunicorn's threads: a client may already be sending its next request.
        linger = self.now + STOP_KEEPALIVE_LINGER
        for client in self.clients.values():
            if client.state == connection.IDLE:
                client.deadline = min(client.deadline, linger)
        while (self.clients or self.n_in_threads) and self.now < end:
            self.run_once()
        for client in list(self.clients.values()):
            self.close(client)
        self.client_pool.shut_down()
        self.app_pool.shut_down()
        self.epoll.close()
        for listener in self.worker.sockets:
            listener.close()

    def run_once(self) -> None:
        """Read from all clients with new bytes, then serve the queued requests."""
        wait = 0 if self.ready or self.pipelined else self.tick_seconds
        events = self.epoll.poll(wait)
        self.now, self.n_iterations = time.monotonic(), self.n_iterations + 1
        for fd, _ in events:
            client = self.clients.get(fd)
            if client is not None:
                self.on_event(client)
            elif fd in self.listeners:
                # Accept one connection and leave the others to idle workers. A busy worker accepts
                # several, so that it can reject them without delay.
                for _ in range(ACCEPTS_WHEN_BUSY if self.ready else 1):
                    self.accept(self.listeners[fd])
            else:
                self.worker.method_queue.run_callbacks(None)
        for _ in range(len(self.pipelined)):
            client = self.pipelined.popleft()
            if client.state == connection.IDLE and client.fd in self.clients:
                self.advance(client)
        if self.now >= self.next_tick:
            self.tick()
        end = self.now + SERVE_SECONDS
        while self.ready:
            self.serve(self.ready.popleft(), self.worker.wsgi)
            if time.monotonic() > end:
                break

    def tick(self) -> None:
        """Send the heartbeat, and close expired connections, once a second."""
        self.next_tick = self.now + self.tick_seconds
        self.worker.notify()
        if not self.worker.is_parent_alive():
            self.worker.alive = False
        for client in list(self.clients.values()):
            if self.now > client.deadline:
                self.expire(client)
        self.client_pool.cancel_overdue(self.now)
        self.app_pool.cancel_overdue(self.now)
        if self.worker.alive:
            self.listen(True)

    def expire(self, client: Client) -> None:
        """Close an expired connection; an incomplete request gets a 408."""
        if client.state == connection.READING:
            self.serve(client, request_timeout)
        else:
            self.close(client)

    def listen(self, enabled: bool) -> None:
        """Accept new connections, or leave them to other workers."""
        if enabled != self.listening:
            self.listening = enabled
            for fd in self.listeners:
                if enabled:
                    self.listeners[fd].setblocking(False)
                    self.epoll.register(fd, select.EPOLLIN)
                else:
                    self.epoll.unregister(fd)

    def accept(self, listener: Any) -> None:
        """Accept one connection."""
        is_full = len(self.clients) + self.n_in_threads >= self.cfg.worker_connections
        if not self.listening or (is_full and not self.evict()):
            return self.listen(False)
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE) and not self.evict():
                self.listen(False)
            return None
        sock.setblocking(False)
        server = listener.getsockname()
        client = Client(sock, address, server, self.reader.environ(sock, address, server))
        self.epoll.register(client.fd, select.EPOLLIN)
        self.clients[client.fd] = client
        client.deadline = self.now + self.cfg.keepalive
        return None

    def evict(self) -> bool:
        """Close the connection that has been idle for longest, and return whether one was idle."""
        idle_clients = [
            client
            for client in self.clients.values()
            if client.state == connection.IDLE and not client.data
        ]
        if idle_clients:
            self.close(min(idle_clients, key=lambda client: client.deadline))
        return bool(idle_clients)

    def on_event(self, client: Client) -> None:
        """Read from or write to a client's socket."""
        if client.state == connection.SENDING:
            self.send(client, client.unsent, client.keep)
        elif client.state == connection.QUEUED or (client.state == connection.IDLE and client.data):
            # A complete request is pending. Further bytes stay in the kernel, whose buffers limit
            # what the client can send.
            self.epoll.modify(client.fd, 0)
            client.is_paused = True
        else:
            self.receive(client)

    def receive(self, client: Client) -> None:
        """Read the bytes of a client."""
        try:
            data = client.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = client.data = b""
        if data and client.state == connection.DRAINING:
            client.drain_left -= len(data)
            if client.drain_left < 0:
                self.close(client)
        elif data:
            client.data += data
            self.advance(client)
        elif client.data:
            # Gunicorn's own code has a response to incomplete requests.
            self.hand_over(client)
        elif not data:
            self.close(client)

    def advance(self, client: Client) -> None:
        """Parse a client's request, and queue a complete one."""
        if client.request is None:
            try:
                client.request = self.reader.read(client)
            except IncompleteError:
                return self.wait(client, started=client.state == connection.READING)
            if client.request is None:
                return self.hand_over(client)
            client.state = connection.IDLE
        if len(client.data) < client.request.end:
            return self.wait(client, started=client.state == connection.READING)
        return self.queue(client, client.request)

    def wait(self, client: Client, *, started: bool) -> None:
        """Wait for the rest of a head, or of a body."""
        if client.request is None and len(client.data) > MAX_HEAD:
            return self.hand_over(client)
        self.resume_reading(client)
        if not started:
            client.state = connection.READING
            client.deadline = self.now + timeouts.REQUEST_TIMEOUT
            # Appending to bytes would copy all previous bytes each time.
            if isinstance(client.data, bytes):
                client.data = bytearray(client.data)
        return None

    def queue(self, client: Client, request: Request) -> None:
        """Serve, queue or reject a complete request."""
        client.state, client.deadline, client.queued_at = connection.QUEUED, NEVER, self.now
        client.queued_iteration = self.n_iterations
        if request.begin > LONG_HEAD or self.needs_thread(request.environ):
            self.serve_in_thread(client)
        elif request.environ["PATH_INFO"] == LIVENESS_PATH:
            self.serve(client, self.worker.wsgi)
        elif self.ready and self.is_overdue(self.ready[0]):
            self.serve(client, service_unavailable)
        else:
            self.ready.append(client)

    def is_overdue(self, client: Client) -> bool:
        """Return whether a queued request has waited too long, except for pauses."""
        waited = self.n_iterations - client.queued_iteration
        return waited > MIN_ITERATIONS and self.now - client.queued_at > MAX_WAIT
