"""The refusals of a hub, with the headers by which the hub's own client tells them apart."""

from __future__ import annotations

from tests.fakes.http_message import Headers, RefusedError, Response, json_response


def refused(status: int, message: str, code: str | None = None, headers: Headers = ()) -> RefusedError:
    """An error as the hub gives it: in X-Error-Code and X-Error-Message, for HEAD too, and as JSON."""
    named: Headers = (("X-Error-Message", message),)
    if code:
        named += (("X-Error-Code", code),)
    if status == 401:
        named += (("WWW-Authenticate", 'Bearer realm="Authentication required", charset="UTF-8"'),)
    return RefusedError(json_response(status, {"error": message}, named + headers))


def repo_not_found(anonymous: bool) -> RefusedError:
    """A repository that is not there, or not for this visitor: the hub does not say which."""
    if anonymous:
        return refused(401, "Invalid username or password.", "RepoNotFound")
    return refused(404, "Repository not found", "RepoNotFound")


def gated_repo(repo_id: str, url: str, anonymous: bool) -> RefusedError:
    """A repository whose terms the visitor has not accepted."""
    restricted = f"Access to model {repo_id} is restricted"
    if anonymous:
        message = f"{restricted}. You must have access to it and be authenticated to access it. Please log in."
        return refused(401, message, "GatedRepo")
    message = f"{restricted} and you are not in the authorized list. Visit {url}/{repo_id} to ask for access."
    return refused(403, message, "GatedRepo")


def moved(location: str) -> RefusedError:
    """A repository that was renamed: the same request, under its new name."""
    return RefusedError(Response(307, (("Location", location),)))
