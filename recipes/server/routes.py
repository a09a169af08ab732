"""The endpoints that a platform asks, mapped to those that a server has, and the configuration of the nginx that maps them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from buildkit.inputs import Part
from buildkit.reading.plain import Refusal, plain, shown

WORK = "/tmp/modelpack-nginx"  # noqa: S108 - the one folder that may be written with a read-only root; init makes it anew
"""Where nginx keeps what it writes. ``init`` makes it, with the link ``access.log`` in it."""
_PATH = re.compile(r"(?:/[A-Za-z0-9._~:@+,=-]+)*(?:/\*?)?")
_FORM = "a path such as /v1/completions, without '//', '?' and '..'; /v1/* stands for all below it"


def _path(text: str) -> str:
    plain(text)
    if not text or not _PATH.fullmatch(text) or {".", ".."} & set(text.split("/")):
        raise Refusal(f"{shown(text)} is not a path that can be mapped", _FORM)
    return text


RoutePath = Annotated[str, AfterValidator(_path), Field(json_schema_extra={"pattern": r"^/"})]


class Route(Part):
    """Where requests for one of the platform's endpoints go."""

    to: RoutePath = Field(description="The server's own path; query strings are handed on.")
    method: Literal["GET", "POST", "PUT", "HEAD"] | None = Field(
        default=None, description="The method the server is asked with; by default that of the request."
    )


Routes = dict[
    RoutePath,
    Annotated[
        Route,
        BeforeValidator(lambda value: {"to": value} if isinstance(value, str) else value),
        WithJsonSchema(
            {
                "anyOf": [
                    {"type": "string", "pattern": "^/", "description": "The server's own path."},
                    {
                        "type": "object",
                        "required": ["to"],
                        "additionalProperties": False,
                        "properties": {
                            "to": {"type": "string", "pattern": "^/"},
                            "method": {"enum": ["GET", "POST", "PUT", "HEAD"]},
                        },
                    },
                ]
            }
        ),
    ],
]


def unpaired(routes: Mapping[str, Route]) -> Iterator[tuple[str, Refusal]]:
    """Routes of which only one side ends in ``*``, by the path of the platform's side."""
    for path, route in routes.items():
        if path.endswith("*") != route.to.endswith("*"):
            yield path, Refusal("ends in * on one side alone", "write /v1/*: /v1/*, or a single path on both sides")


def configuration(routes: Mapping[str, Route], port: int, server_port: int, drain: int) -> str:
    """nginx's configuration: exact locations, nothing redirected or buffered, nothing written outside /tmp.

    It needs no root: no ``user``, logs to stdout and stderr. ``drain``: seconds that requests under way have at the end.
    """
    locations = "".join(_location(path, routes[path], server_port) for path in sorted(routes))
    return _CONFIGURATION.format(work=WORK, port=port, drain=drain, locations=locations)


def _location(path: str, route: Route, server_port: int) -> str:
    target = f"proxy_pass http://127.0.0.1:{server_port}{route.to.removesuffix('*')};"
    lines = [target, *([f"proxy_method {route.method};"] if route.method else [])]
    body = "".join(f"      {line}\n" for line in lines)
    if not path.endswith("*"):
        return f'    location = "{path}" {{\n{body}    }}\n'
    # A prefix that ends in a slash makes nginx redirect the path without it, unless that has a location of its own.
    prefix = path.removesuffix("*")
    bare = f'    location = "{prefix.rstrip("/")}" {{\n      return 404;\n    }}\n' if prefix != "/" else ""
    return f'{bare}    location ^~ "{prefix}" {{\n{body}    }}\n'


_CONFIGURATION = """\
# Written by modelpack: what a platform asks, mapped to what the server has. 'init' beside it starts nginx with this.
daemon off;
pid {work}/nginx.pid;
error_log stderr warn;
worker_processes 2;
worker_shutdown_timeout {drain}s;

events {{
  worker_connections 512;
}}

http {{
  access_log {work}/access.log combined;
  client_body_temp_path {work}/body;
  proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi;
  scgi_temp_path {work}/scgi;
  server_tokens off;
  default_type application/octet-stream;
  keepalive_timeout 200s;

  server {{
    listen {port};
    server_name _;
    merge_slashes off;
    absolute_redirect off;
    client_max_body_size 0;
    large_client_header_buffers 8 32k;

    # The server sees the request as it comes, and the client the answer, byte by byte: nothing is kept in between.
    proxy_http_version 1.1;
    proxy_request_buffering off;
    proxy_buffering off;
    proxy_buffer_size 32k;
    proxy_buffers 8 32k;
    proxy_redirect off;
    proxy_connect_timeout 5s;
    proxy_read_timeout 1h;
    proxy_send_timeout 1h;
    send_timeout 1h;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;

{locations}    location / {{
      return 404;
    }}
  }}
}}
"""
