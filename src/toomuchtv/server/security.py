"""Who may talk to the server: checks that come before every request, and headers of every answer.

- A page of another site must not reach the server through the browser of its user. A wrong `Host`
  (DNS rebinding) or `Origin` is refused, and a request that changes or costs something needs a
  header that only own pages can set.
- Beyond loopback, every request needs a token.
- Bodies are bounded in size and in the time that they take.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import logging
import os
import socket
from collections.abc import Collection
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MIN_TOKEN_LENGTH = 16
MAX_BODY_BYTES = 1 << 20
BODY_SECONDS = 30.0
#: Header without which a POST is refused. A page of another site cannot set it.
GUARD_HEADER = "X-Toomuchtv"
#: The path whose bodies are bounded by `uploads` in place of this module.
UPLOAD_PATH = "/api/uploads"
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_LOG = logging.getLogger(__name__)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a host that is listened on."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is let through.

    Attributes:
        host: The address that the server listens on.
        port: Its port.
        public_hosts: Further names by which a reverse proxy or a name server leads here.
        token: What every request must carry, or None for none.

    Raises:
        ValueError: There is no token although others can reach the server, or it is too short.
    """

    host: str
    port: int
    public_hosts: Collection[str] = ()
    token: str | None = None

    def __post_init__(self) -> None:
        if self.token is None and (self.public_hosts or not is_loopback(self.host)):
            raise ValueError(
                f"others can reach a server on {self.host}"
                + (f" by the name {', '.join(self.public_hosts)}" if self.public_hosts else "")
                + ", so it needs a token: pass `--token new` to make one, or set "
                f"TOOMUCHTV_TOKEN to at least {MIN_TOKEN_LENGTH} characters"
            )
        if self.token is not None and len(self.token) < MIN_TOKEN_LENGTH:
            raise ValueError(
                f"a token must have at least {MIN_TOKEN_LENGTH} characters, got "
                f"{len(self.token)}: pass `--token new` to make one"
            )

    def allows_host(self, header: str) -> bool:
        """Return whether a Host header names this server."""
        try:
            parts = urlsplit(f"//{header}")
            name, port = parts.hostname or "", parts.port
        except ValueError:
            return False
        if parts.username is not None or parts.path or parts.query or parts.fragment:
            return False
        if name in {one.lower() for one in self.public_hosts}:
            return True
        if (80 if port is None else port) != self.port:
            return False
        if name in _LOOPBACK or name == self.host.lower():
            return True
        if self.host not in ("0.0.0.0", "::"):
            return False
        # An address cannot be rebound to another one, as a name can.
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in {socket.gethostname().lower(), socket.getfqdn().lower()}
        return True

    def allows_origin(self, origin: str, host_header: str) -> bool:
        """Return whether an Origin header is that of the pages of this server."""
        schemes = ("http", "https") if self.public_hosts else ("http",)
        return origin.lower() in {f"{scheme}://{host_header.lower()}" for scheme in schemes}

    @property
    def cookie_name(self) -> str:
        """Name of the cookie. Cookies are shared by all ports of a host."""
        return f"toomuchtv-{self.port}"

    @property
    def cookie_value(self) -> str:
        """What the cookie holds in place of the token."""
        return hmac.new((self.token or "").encode(), b"cookie", hashlib.sha256).hexdigest()

    def has_token(self, headers: Headers) -> bool:
        """Return whether a request carries the token, as a bearer or as the cookie."""
        if self.token is None:
            return True
        scheme, _, value = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _equal(value.strip(), self.token):
            return True
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(self.cookie_name)
        except CookieError:
            return False
        return cookie is not None and _equal(cookie.value, self.cookie_value)


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


class Guard:
    """ASGI middleware that enforces a policy.

    Args:
        app: The application behind it.
        policy: The policy.
    """

    def __init__(self, app: ASGIApp, policy: Policy) -> None:
        self._app = app
        self._policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                message["headers"] = _with_security_headers(message["headers"])
            await send(message)

        answer = self._answer_at_once(scope)
        if answer is None and scope["method"] not in _SAFE_METHODS and scope["path"] != UPLOAD_PATH:
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    receive = await _read_body(receive)
            except TimeoutError:
                answer = 408, "the request took too long to arrive: send it again", {}
            except ValueError as error:
                answer = 413, str(error), {}
        if answer is not None:
            await _send_answer(send_with_headers, *answer)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except ClientDisconnect:
            return  # nobody waits for an answer
        except Exception as error:  # an error of one request must not end the server
            _LOG.exception("error while answering %s %s", scope["method"], scope["path"])
            if has_started:
                raise
            text = f"an error of this program, please report it: {type(error).__name__}"
            await _send_answer(send_with_headers, 500, text, {})

    def _answer_at_once(self, scope: Scope) -> tuple[int, str, dict[str, str]] | None:
        """Return status, sentence and headers for a request that is not passed on, or None."""
        headers, policy = Headers(scope=scope), self._policy
        is_safe = scope["method"] in _SAFE_METHODS
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not policy.allows_host(hosts[0]):
            return 403, "this server has another name: open the address that it has printed", {}
        origins = headers.getlist("origin")
        if any(not policy.allows_origin(origin, hosts[0]) for origin in origins):
            return 403, "requests from pages of other sites are refused", {}
        # Browsers say where a request comes from. Only a link may lead here from elsewhere.
        is_link = scope["path"] == "/" and headers.get("sec-fetch-mode") == "navigate"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not is_link:
            return 403, "requests from pages of other sites are refused", {}
        if policy.token is not None:
            if scope["path"] == "/" and is_safe and (location := self._sign_in(scope)) is not None:
                is_https = headers.get("x-forwarded-proto") == "https"
                cookie = (
                    f"{policy.cookie_name}={policy.cookie_value}; HttpOnly; SameSite=Strict; "
                    f"Path=/; Max-Age=31536000{'; Secure' if is_https else ''}"
                )
                return 303, "signed in", {"Location": location, "Set-Cookie": cookie}
            if not policy.has_token(headers):
                text = (
                    "a token is needed: open the address with ?token= that the server has "
                    "printed, or send it in the header Authorization: Bearer TOKEN"
                )
                answer = {"WWW-Authenticate": "Bearer"}
                if headers.get("sec-fetch-site") in ("cross-site", "same-site"):
                    # A browser sends no strict cookie with a link from elsewhere. The address that
                    # it opens again comes from here.
                    answer["Refresh"] = "0"
                return 401, text, answer
        if not is_safe and headers.get(GUARD_HEADER) != "1":
            return 403, f"a {scope['method']} request needs the header {GUARD_HEADER}: 1", {}
        return None

    def _sign_in(self, scope: Scope) -> str | None:
        """Return where to go with the cookie if the query string has the right token, else None."""
        pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        tokens = [value for name, value in pairs if name == "token"]
        if len(tokens) != 1 or not _equal(tokens[0], self._policy.token or ""):
            return None
        rest = urlencode([pair for pair in pairs if pair[0] != "token"])
        return f"/?{rest}" if rest else "/"


def _with_security_headers(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    own = {name.lower().encode(): value.encode() for name, value in SECURITY_HEADERS.items()}
    present = {name.lower() for name, _ in headers}
    if b"cache-control" not in present:
        own[b"cache-control"] = b"no-store"
    return [pair for pair in headers if pair[0].lower() not in own] + list(own.items())


async def _send_answer(send: Send, status: int, text: str, headers: dict[str, str]) -> None:
    body = json.dumps({"detail": text}).encode()
    every = {
        "content-type": "application/json",
        "content-length": str(len(body)),
        **headers,
    }
    if status in (408, 413):  # the rest of the body is not read
        every["connection"] = "close"
    pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in every.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


async def _read_body(receive: Receive) -> Receive:
    """Read a whole body, and return a function that gives it to the application.

    Raises:
        ValueError: It is too large.
    """
    body = bytearray()
    is_done = False
    while True:
        message = await receive()
        if message["type"] != "http.request":
            is_done = True  # the client has gone
            break
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise ValueError(f"a request may have {MAX_BODY_BYTES:,} bytes: ask for less at a time")
        if not message.get("more_body", False):
            break

    async def replay() -> Message:
        nonlocal is_done
        if is_done:
            return await receive()
        is_done = True
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return replay


def token_from(option: str | None) -> str | None:
    """Return the token that `--token` or the environment variable TOOMUCHTV_TOKEN names, if any."""
    return option or os.environ.get("TOOMUCHTV_TOKEN") or None
