"""Sockets of this process in another network namespace: a socket stays in the namespace in which it was opened."""

import ctypes
import os
import socket
import threading
import time

CLONE_NEWNET = 0x40000000
EXCHANGE_PAUSE = 0.01
STUCK_SECONDS = 15


def inside(namespace, function):
    """Runs `function` in a thread that has entered the namespace; its result."""
    outcome = {}

    def enter():
        try:
            libc = ctypes.CDLL(None, use_errno=True)
            with open(f"/run/netns/{namespace}", "rb") as file:
                if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
            outcome["result"] = function()
        except OSError as error:
            outcome["error"] = error

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if "error" in outcome:
        raise outcome["error"]
    return outcome["result"]


def udp_socket(namespace, bound_to=("", 0)):
    """A UDP socket there that does not block."""

    def open_socket():
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind(bound_to)
        opened.setblocking(False)
        return opened

    return inside(namespace, open_socket)


def listener(namespace, port):
    """A TCP listener there."""
    return inside(namespace, lambda: socket.create_server(("", port), reuse_port=True))


def connects(namespace, host, port, seconds=3):
    """Whether a TCP connection opens from there."""

    def connect():
        try:
            socket.create_connection((host, port), timeout=seconds).close()
            return True
        except OSError:
            return False

    return inside(namespace, connect)


class Conversation:
    """One TCP connection with an exchange every few milliseconds, over whatever happens in between."""

    def __init__(self, client, server, host, port):
        self.exchanges = 0
        self.error = None
        self.longest_pause = 0.0
        self._ended = threading.Event()
        self._listener = listener(server, port)
        self._client = inside(client, lambda: socket.create_connection((host, port), timeout=5))
        self._client.settimeout(STUCK_SECONDS)
        self._server, peer = self._listener.accept()
        self._server.settimeout(STUCK_SECONDS)
        # As the two ends see the client: different behind source NAT.
        self.inside = self._client.getsockname()
        self.outside = peer
        self._threads = [threading.Thread(target=self._echo), threading.Thread(target=self._talk)]
        for thread in self._threads:
            thread.start()

    def _echo(self):
        try:
            while data := self._server.recv(64):
                self._server.sendall(data)
        except OSError as error:
            self.error = self.error or f"server: {error}"

    def _talk(self):
        try:
            while not self._ended.is_set():
                began = time.monotonic()
                question = f"{self.exchanges:012}".encode()
                self._client.sendall(question)
                answer = b""
                while len(answer) < len(question):
                    piece = self._client.recv(64)
                    if not piece:
                        raise OSError("closed by the other side")
                    answer += piece
                if answer != question:
                    raise OSError(f"{answer} is no answer to {question}")
                self.exchanges += 1
                self.longest_pause = max(self.longest_pause, time.monotonic() - began)
                time.sleep(EXCHANGE_PAUSE)
        except OSError as error:
            self.error = self.error or f"client: {error}"

    def goes_on(self, seconds=10):
        """Whether another exchange completes from now on."""
        before, deadline = self.exchanges, time.monotonic() + seconds
        # One exchange may have been answered before the question.
        while self.exchanges < before + 2 and self.error is None and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.error is None and self.exchanges >= before + 2

    def close(self):
        """Ends it."""
        self._ended.set()
        self._threads[1].join()
        self._client.close()
        self._threads[0].join()
        self._server.close()
        self._listener.close()
