"""Serves the page and some files to this machine alone."""

from __future__ import annotations

import mimetypes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

LOOPBACK = "127.0.0.1"
TYPES = {".mjs": "text/javascript", ".js": "text/javascript", ".wasm": "application/wasm", ".json": "application/json"}
HEADERS = {
    # these two let the page use threads
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class PageServer(ThreadingHTTPServer):
    """site: path -> content; files: path -> file on disk, read when it is asked for. Port 0: any that is free."""

    daemon_threads = True

    def __init__(self, site: dict[str, bytes], files: dict[str, Path], port: int = 0) -> None:
        self.site, self.files = site, files
        super().__init__((LOOPBACK, port), _Handler)

    @property
    def url(self) -> str:
        """The page, with all files in its list."""
        sources = "&".join(f"src={quote(path, safe='')}" for path in map(quote, self.files))
        return f"http://{LOOPBACK}:{self.server_port}/" + (f"?{sources}" if sources else "")


class _Handler(BaseHTTPRequestHandler):
    server: PageServer

    def do_GET(self) -> None:
        # another site's name that points to this machine must not read what is served here
        if self.headers.get("Host") != f"{LOOPBACK}:{self.server.server_port}":
            self.send_error(403)
            return
        path = unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
        try:
            data = self.server.site[path] if path in self.server.site else self.server.files[path].read_bytes()
        except (KeyError, OSError):
            self.send_error(404)
            return
        self.send_response(200)
        suffix = Path(path).suffix
        kind = TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
        own = {"Content-Type": kind, "Content-Length": str(len(data)), "Cache-Control": "no-cache"}
        for name, value in (HEADERS | own).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal is for the user."""
