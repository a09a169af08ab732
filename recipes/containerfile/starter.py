"""The first files of a project with a Containerfile of its own."""

from __future__ import annotations

from collections.abc import Mapping

from buildkit.start import named


def files(name: str) -> Mapping[str, str]:
    """The files by path; raises InvalidInput where ``name`` cannot be an image's."""
    return {
        "recipe.yaml": _RECIPE.format(name=named(name)),
        "Containerfile": _CONTAINERFILE,
        "server.py": _SERVER,
        ".dockerignore": _IGNORE,
    }


_RECIPE = """\
# An image from a Containerfile of one's own. Build it with: modelpack build recipe.yaml
kind: containerfile
name: {name}

# containerfile: ./Containerfile   # by default this, then Dockerfile
# context: .                       # the folder that it copies from; .dockerignore is heeded
build_args:
  PYTHON: "3.11"
# secrets:                         # mounted by RUN --mount=type=secret,id=token and kept nowhere
#   token: {{env: HF_TOKEN}}
# target_stage: run                # by default the last stage

tags: [latest]
platforms: [linux/amd64]
"""
_CONTAINERFILE = """\
# Each image is pinned to its digest when this is built: recipe.lock says what they were.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS check
WORKDIR /app
COPY server.py ./
RUN python3 -c "import ast; ast.parse(open('server.py').read())"

FROM python:${PYTHON}-slim AS run
WORKDIR /app
COPY --from=check /app/server.py ./
ENV PYTHONDONTWRITEBYTECODE=1
EXPOSE 8080
USER 1001:0
CMD ["python3", "/app/server.py"]
"""
_SERVER = '''\
"""A server of a few lines: GET /health, and POST /predict, which counts words."""

import json
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200 if self.path == "/health" else 404, {"status": "ok"})

    def do_POST(self):
        text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.answer(200 if self.path == "/predict" else 404, {"words": len(text.split())})

    def answer(self, status, content):
        raw = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
'''
_IGNORE = """\
# What is no part of an image. Histories, caches, .env files and the recipe itself never are.
README.md
deploy
tests
"""
