"""HTTP over a Unix socket, with the client that Python has."""
import http.client
import json
import socket


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=30):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def ask(self, method, path, body=None):
        """The response to it, unread; `body`: what is sent as JSON."""
        self.request(method, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
        return self.getresponse()
