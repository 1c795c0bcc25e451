"""An HTTP proxy on loopback for other people's clients, which know no host map: each request goes to where the map sends its host."""

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit


class Proxy:
    """A proxy while it is entered; `url` is what the environment's http_proxy should say. host_map: the small web's file."""

    def __init__(self, host_map: Path):
        places = json.loads(host_map.read_text("utf-8"))

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                place = places.get(parts.hostname or "")
                if place is None:
                    self.send_error(502)
                    return
                connection = http.client.HTTPConnection(place, timeout=10)
                target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
                try:
                    connection.request("GET", target, headers={"Host": parts.netloc, "User-Agent": self.headers.get("User-Agent", "")})
                    answer = connection.getresponse()
                    body = answer.read()
                except (OSError, http.client.HTTPException):
                    self.send_error(502)
                    return
                finally:
                    connection.close()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="proxy", daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Proxy":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
