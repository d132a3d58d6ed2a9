"""The loop: one thread that reads all clients and answers what is short."""

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

# The address that is never refused.
LIVE = "/livez"
# A thread serves the requests with longer heads, because some headers take long to parse.
LONG_HEAD = 2048
# The loop looks for new requests this often while it has answers to give.
BUDGET = 0.01
# A thread that computes holds Python's lock this long while the loop waits for it, and the kernel's
# timer adds 0.05 ms. The loop waits several times a request, with Python's own 5 ms for 15 ms in
# all. With 0.001 ms the threads do little but switch, and a prediction can take a second.
SWITCH_SECONDS = 0.00002
# A full collection holds the lock for 7 ms beside a file of wrong rows, and Python makes one for
# each such file. The collections of younger objects between two full ones; Python's own is 10.
OLD_COLLECTIONS = 1000
# A machine that stands still for a second makes all look late that are answered at once after it;
# who is late because there is too much to do has waited for more turns than these.
FEW_TURNS = 3
RECEIVE = 64 * 1024
ACCEPT_BUSY = 64


class EventLoop(Sender):
    """The loop of a worker.

    Parameters
    ----------
    worker : LoopWorker
        Its threads take what the loop hands over.
    """

    def __init__(self, worker: Any) -> None:
        super().__init__(worker)
        self.reader = Reader(worker.cfg)
        # An application may say itself which of its requests take long.
        self.takes_long = getattr(worker.wsgi, "takes_long", lambda _environ: False)
        self.listeners = {listener.fileno(): listener for listener in worker.sockets}
        self.listening = False
        self.ready: deque[Client] = deque()
        self.next_tick = 0.0
        self.turns = 0
        self.tick_seconds = 1.0

    def run(self) -> None:
        """Serve until the worker is told to stop, and finish what is in flight."""
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.set_threshold(*gc.get_threshold()[:2], OLD_COLLECTIONS)
        self.epoll.register(self.worker.method_queue.fileno(), select.EPOLLIN)
        self.now = time.monotonic()
        self.listen(True)
        while self.worker.alive:
            self.turn()
        self.stop()

    def stop(self) -> None:
        """Finish what is in flight, within the time there is for it."""
        self.listen(False)
        self.now, self.tick_seconds = time.monotonic(), 0.1
        end = self.now + self.cfg.graceful_timeout
        # As with Gunicorn's threads: a client may be sending its next request already.
        linger = self.now + STOP_KEEPALIVE_LINGER
        for client in self.clients.values():
            if client.state == connection.IDLE:
                client.deadline = min(client.deadline, linger)
        while (self.clients or self.n_lent) and self.now < end:
            self.turn()
        for client in list(self.clients.values()):
            self.close(client)
        self.pool.shut_down()
        self.callers.shut_down()
        self.epoll.close()
        for listener in self.worker.sockets:
            listener.close()

    def turn(self) -> None:
        """Read whoever has sent something, then answer."""
        wait = 0 if self.ready or self.more else self.tick_seconds
        events = self.epoll.poll(wait)
        self.now, self.turns = time.monotonic(), self.turns + 1
        for fd, _ in events:
            client = self.clients.get(fd)
            if client is not None:
                self.on_event(client)
            elif fd in self.listeners:
                # One at a time leaves the others to other workers; unless all are busy, where
                # one at a time would make even a refusal wait.
                for _ in range(ACCEPT_BUSY if self.ready else 1):
                    self.accept(self.listeners[fd])
            else:
                self.worker.method_queue.run_callbacks(None)
        for _ in range(len(self.more)):
            client = self.more.popleft()
            if client.state == connection.IDLE and client.fd in self.clients:
                self.advance(client)
        if self.now >= self.next_tick:
            self.tick()
        until = self.now + BUDGET
        while self.ready:
            self.answer(self.ready.popleft(), self.worker.wsgi)
            if time.monotonic() > until:
                break

    def tick(self) -> None:
        """Do what is due once a second: the heartbeat, and clients whose time is over."""
        self.next_tick = self.now + self.tick_seconds
        self.worker.notify()
        if not self.worker.is_parent_alive():
            self.worker.alive = False
        for client in list(self.clients.values()):
            if self.now > client.deadline:
                self.expire(client)
        self.pool.give_up(self.now)
        self.callers.give_up(self.now)
        if self.worker.alive:
            self.listen(True)

    def expire(self, client: Client) -> None:
        """End the connection of a client whose time is over."""
        if client.state == connection.READING:
            self.answer(client, request_timeout)
        else:
            self.close(client)

    def listen(self, on: bool) -> None:
        """Take new connections, or leave them to others."""
        if on != self.listening:
            self.listening = on
            for fd in self.listeners:
                if on:
                    self.listeners[fd].setblocking(False)
                    self.epoll.register(fd, select.EPOLLIN)
                else:
                    self.epoll.unregister(fd)

    def accept(self, listener: Any) -> None:
        """Take one connection, so that other workers have their share."""
        full = len(self.clients) + self.n_lent >= self.cfg.worker_connections
        if not self.listening or (full and not self.evict()):
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
        """Close the connection that has been idle for longest, if there is one."""
        idle = [
            each
            for each in self.clients.values()
            if each.state == connection.IDLE and not each.data
        ]
        if idle:
            self.close(min(idle, key=lambda each: each.deadline))
        return bool(idle)

    def on_event(self, client: Client) -> None:
        """Do what a client's socket is ready for."""
        if client.state == connection.SENDING:
            self.send(client, client.out, client.keep)
        elif client.state == connection.QUEUED or (client.state == connection.IDLE and client.data):
            # A whole request waits. What comes behind it stays in the kernel, which lets its
            # client send no more than its buffers hold.
            self.epoll.modify(client.fd, 0)
            client.masked = True
        else:
            self.receive(client)

    def receive(self, client: Client) -> None:
        """Take what has come."""
        try:
            data = client.sock.recv(RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            data = client.data = b""
        if data and client.state == connection.DRAINING:
            client.left -= len(data)
            if client.left < 0:
                self.close(client)
        elif data:
            client.data += data
            self.advance(client)
        elif client.data:
            # Gunicorn's own code has an answer to a request that is cut off.
            self.hand_over(client)
        elif not data:
            self.close(client)

    def advance(self, client: Client) -> None:
        """Read on in a client's request; a whole one is queued."""
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
        self.hear(client)
        if not started:
            client.state = connection.READING
            client.deadline = self.now + timeouts.REQUEST_TIMEOUT
            # Else every byte that comes by itself would copy all that came before.
            if isinstance(client.data, bytes):
                client.data = bytearray(client.data)
        return None

    def queue(self, client: Client, request: Request) -> None:
        """Put a whole request where it will be answered."""
        client.state, client.deadline, client.since = connection.QUEUED, NEVER, self.now
        client.turn = self.turns
        if request.begin > LONG_HEAD or self.takes_long(request.environ):
            self.leave_to_thread(client)
        elif request.environ["PATH_INFO"] == LIVE:
            self.answer(client, self.worker.wsgi)
        elif self.ready and self.is_late(self.ready[0]):
            self.answer(client, service_unavailable)
        else:
            self.ready.append(client)

    def is_late(self, client: Client) -> bool:
        """Whether a queued request has waited too long, and not only because all stood still."""
        waited = self.turns - client.turn
        return waited > FEW_TURNS and self.now - client.since > MAX_WAIT
