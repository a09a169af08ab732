"""A server whose endpoints cannot be changed: GET /v1/models and POST /v1/completions, as servers of language models have.

It completes a prompt with the prompt's own words, the last first, as JSON or, where "stream" is true, as events.
"""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/v1/models":
            return self._answer(404, {"error": f"there is no {self.path}"})
        return self._answer(200, {"object": "list", "data": [{"id": "echo", "object": "model"}]})

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.partition("?")[0] != "/v1/completions":
            return self._answer(404, {"error": f"there is no {self.path}"})
        try:
            asked = json.loads(content)
            words = [str(word) for word in reversed(asked["prompt"].split())]
        except (ValueError, KeyError, TypeError, AttributeError):
            return self._answer(400, {"error": 'send {"prompt": "..."}'})
        if asked.get("stream"):
            return self._stream(words)
        return self._answer(200, {"object": "text_completion", "choices": [{"index": 0, "text": " ".join(words)}]})

    def _stream(self, words: list[str]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for word in words:
            event = {"object": "text_completion", "choices": [{"index": 0, "text": word}]}
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


if __name__ == "__main__":
    port = int(sys.argv[sys.argv.index("--port") + 1])
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
