"""The control socket of a gateway, spoken to directly: a thousand questions without a thousand processes."""

import http.client
import json
import socket

SECONDS = 20


class Control(http.client.HTTPConnection):
    """HTTP on the UNIX socket of a runtime directory; a connection per question."""

    def __init__(self, gateway):
        super().__init__("tombolo", timeout=SECONDS)
        self._path = str(gateway.runtime_dir / "control.sock")

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self._path)

    def ask(self, method, path, body=None):
        """(HTTP status, the answer's text)."""
        try:
            self.request(method, path, body=body, headers={"Connection": "close"})
            answer = self.getresponse()
            return answer.status, answer.read().decode()
        finally:
            self.close()

    def get(self, path):
        """A JSON answer."""
        status, text = self.ask("GET", path)
        if status != 200:
            raise OSError(f"{path}: {status} {text}")
        return json.loads(text)

    def config(self):
        """The configuration's text."""
        return self.ask("GET", "/v1/config")[1]

    def apply(self, text):
        """(HTTP status, `Applied` or `Refusal`)."""
        status, answer = self.ask("PUT", "/v1/config", text.encode())
        return status, json.loads(answer)
