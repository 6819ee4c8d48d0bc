"""Serves the page below /ui/. It holds no secrets and asks for no token: what it shows comes from kusciajob.v1."""

from http import HTTPStatus

from aiohttp import web

from kusciajob.api.http.messages import Refused
from kusciajob.web import assets

PAGE_PATH = "/ui/"
_LEAD_HERE = ("/", PAGE_PATH.rstrip("/"))
_METHODS = ("GET", "HEAD")

HEADERS = {
    # Nothing but our own files; the page talks to this server only, and stands in no frame.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_ASK_EACH_TIME = "no-cache"


def answer(request: web.BaseRequest) -> web.Response | None:
    """The answer to a request for the page; None for one that is for something else. Raises Refused."""
    path = request.rel_url.raw_path
    if path in _LEAD_HERE:
        return _lead() if path != "/" or _is_navigation(request) else None
    if not path.startswith(PAGE_PATH):
        return None
    if request.method not in _METHODS:
        text = f"{path} takes {', '.join(_METHODS)} only"
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, text, headers={"Allow": ", ".join(_METHODS)})
    name = path.removeprefix(PAGE_PATH)
    if not name:
        return _index(request)
    asset = assets.load().others.get(name)
    if asset is None:
        raise Refused(HTTPStatus.NOT_FOUND, f"the page has no such file; it begins at {PAGE_PATH}")
    return _send(request, asset, {"Cache-Control": _FOR_EVER})


def _index(request: web.BaseRequest) -> web.Response:
    found = assets.load()
    etag = f'"{found.version}"'
    headers = {"Cache-Control": _ASK_EACH_TIME, "ETag": etag}
    if etag in request.headers.get("If-None-Match", ""):
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers={**HEADERS, **headers})
    return _send(request, found.index, headers)


def _is_navigation(request: web.BaseRequest) -> bool:
    """Whether a person went there with a browser: programs do not ask for HTML."""
    return request.method in _METHODS and "text/html" in request.headers.get("Accept", "")


def _lead() -> web.Response:
    """To the page, by a path: whatever the server's name is for this client."""
    return web.Response(status=HTTPStatus.FOUND, headers={**HEADERS, "Location": PAGE_PATH, "Vary": "Accept"})


def _send(request: web.BaseRequest, asset: assets.Asset, headers: dict[str, str]) -> web.Response:
    headers = {**HEADERS, **headers, "Content-Type": asset.content_type, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return web.Response(body=asset.compressed, headers={**headers, "Content-Encoding": "gzip"})
    return web.Response(body=asset.body, headers=headers)
