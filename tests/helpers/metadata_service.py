"""A fake of the EC2 metadata service, which returns temporary keys of the machine's role.

A test module loads the fixture with ``pytest_plugins = ["metadata_service"]``.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Metadata(BaseHTTPRequestHandler):
    """A metadata service that requires a token, as IMDSv2 does."""

    keys: dict[str, str] = {}

    def log_message(self, format, *args):
        pass

    def do_PUT(self):
        self.respond(200 if self.path == "/latest/api/token" else 404, b"token")

    def do_GET(self):
        path = "/latest/meta-data/iam/security-credentials/"
        if self.headers.get("X-aws-ec2-metadata-token") != "token":
            self.respond(401, b"")
        elif self.path == path:
            self.respond(200, b"the-box")
        else:
            self.respond(200 if self.path == f"{path}the-box" else 404, self.credentials())

    def credentials(self):
        fields = {
            "AccessKeyId": self.keys["AWS_ACCESS_KEY_ID"],
            "SecretAccessKey": self.keys["AWS_SECRET_ACCESS_KEY"],
            "Token": self.keys["AWS_SESSION_TOKEN"],
            "Expiration": "2099-01-01T00:00:00Z",
            "Code": "Success",
        }
        return json.dumps(fields).encode()

    def respond(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def metadata():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()
