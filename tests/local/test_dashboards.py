"""M5b: the import as a person runs it, against something on loopback that answers like OpenSearch Dashboards."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from local.emulator import ROOT

IMPORTED = {"success": True, "successCount": 7}
PARTLY = {"success": False, "successCount": 6, "errors": [
    {"type": "dashboard", "id": "release-metadata-dashboard", "meta": {"title": "Release metadata"},
     "error": {"type": "unknown", "message": "mapping set to strict", "statusCode": 400}}]}
FORBIDDEN = {"statusCode": 403, "error": "Forbidden", "message": "Forbidden"}


@pytest.mark.parametrize(("status", "body", "code", "expected"), [
    (200, IMPORTED, 0, "dashboard       Release metadata"),
    (200, PARTLY, 1, "dashboard Release metadata: mapping set to strict"),
    (403, FORBIDDEN, 1, "wants a login"),
])
def test_command_imports(status, body, code, expected):
    """M5b."""
    seen = []

    class Dashboards(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append((self.path, dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Dashboards) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            done = subprocess.run(
                [sys.executable, "-m", "dashboards", "--url", f"http://admin:geheim@127.0.0.1:{server.server_port}/app/home"],
                cwd=ROOT, env={**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
                capture_output=True, text=True, timeout=60)
        finally:
            server.shutdown()
    assert done.returncode == code, done.stderr
    assert expected in (done.stderr if code else done.stdout)
    assert "Traceback" not in done.stderr and "geheim" not in done.stdout + done.stderr
    ((path, headers, content),) = seen
    assert path == "/api/saved_objects/_import?overwrite=true"
    assert headers["Authorization"].startswith("Basic ") and headers["osd-xsrf"] == "true"
    assert b'name="file"; filename="metadata.ndjson"' in content
    assert content.count(b'"migrationVersion"') == 7
