"""As `careful.py`, with the standard library alone. It forwards the fields that are its arguments."""

import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

FORWARDED = sys.argv[1:]


class Ahead(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        fields = {name: self.headers[name] for name in FORWARDED if name in self.headers}
        request = urllib.request.Request(f"http://{query['via'][0]}/echo", headers={"Host": query["host"][0], **fields})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, body = error.code, error.read()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Ahead)
print("listening", server.server_port, flush=True)
server.serve_forever()
