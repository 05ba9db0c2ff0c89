"""The UI for browsers on this machine, by textual-serve; only whoever has the secret of the address is let in."""

from __future__ import annotations

import hmac
import logging
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web
from textual_serve.server import Server

HOST = "127.0.0.1"
COOKIE = "spnas-orch"
PAGE = Path(__file__).parent

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def serve(command: str, title: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve what `command` shows until SIGINT or SIGTERM; `port` 0 takes a free one. `tell` is given the address.

    Raises:
        OSError: the port is taken.
    """
    with socket.create_server((HOST, port)) as listening:
        taken = int(listening.getsockname()[1])
    _Server(tell, command, HOST, taken, title, templates_path=PAGE).serve()


class _Server(Server):
    """Asks everyone for the secret, once: then the browser has it as a cookie, which no other site can use."""

    def __init__(self, tell: Callable[[str], None], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._tell = tell
        self.secret = secrets.token_urlsafe(24)

    def initialize_logging(self) -> None:
        logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")

    async def on_startup(self, _: web.Application) -> None:
        self._tell(f"{self.public_url}/?secret={self.secret}")

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._guard)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.host != f"{self.host}:{self.port}":
            raise web.HTTPForbidden(text="this is served under another name")
        if request.headers.get("Origin", self.public_url) != self.public_url:
            raise web.HTTPForbidden(text="another site asks")
        if self._is_secret(request.query.get("secret", "")):
            there = web.HTTPFound("/")
            there.set_cookie(f"{COOKIE}-{self.port}", self.secret, httponly=True, samesite="Strict")
            raise there
        if not self._is_secret(request.cookies.get(f"{COOKIE}-{self.port}", "")):
            raise web.HTTPForbidden(text="open the address that spnas-orch watch --web told, with its secret")
        return await handler(request)

    def _is_secret(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.secret.encode())
