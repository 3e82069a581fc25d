"""A web server for one host: answers with the client's address and the path that was asked for. Usage: web.py PORT"""

import http.server
import socket
import sys


class Answer(http.server.BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self):
        client = self.client_address[0].removeprefix("::ffff:")
        body = f"client {client} path {self.path}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    """IPv4 and IPv6 on one socket."""

    address_family = socket.AF_INET6

    def server_bind(self):
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # The base class would look the host's name up.
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = "lab", self.server_address[1]


Server(("::", int(sys.argv[1])), Answer).serve_forever()
