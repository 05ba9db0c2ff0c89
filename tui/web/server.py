"""The UI for browsers on this machine, by textual-serve; only whoever has the secret of the address is let in."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil
from aiohttp import web
from textual_serve.server import Server

HOST = "127.0.0.1"
COOKIE = "spnas-orch"
LAST_S, LOOK_S = 5.0, 0.1  # that views have to end
PAGE = Path(__file__).parent

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def serve(command: str, title: str, port: int, tell: Callable[[str], None]) -> None:
    """Serve what `command` shows until SIGINT or SIGTERM; `port` 0 takes a free one. `tell` is given the address.

    Raises:
        OSError: the port is taken.
    """
    with socket.create_server((HOST, port)) as listening:
        taken = int(listening.getsockname()[1])
        _Server(tell, command, HOST, taken, title, templates_path=PAGE).serve_on(listening)


class _Server(Server):
    """Asks everyone for the secret, once: then the browser has it as a cookie, which no other site can use."""

    def __init__(self, tell: Callable[[str], None], *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._tell = tell
        self.secret = secrets.token_urlsafe(24)

    def serve_on(self, listening: socket.socket) -> None:
        """As `serve`, on a socket that listens already: whoever is told the address may come at once."""
        logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
        loop = asyncio.new_event_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.request_exit)
        web.run_app(self._make_app(), sock=listening, handle_signals=False, loop=loop, print=None)

    async def on_startup(self, _: web.Application) -> None:
        self._tell(f"{self.public_url}/?secret={self.secret}")

    async def _make_app(self) -> web.Application:
        app = await super()._make_app()
        app.middlewares.append(self._guard)
        app.on_cleanup.append(self._see_views_off)
        return app

    async def _see_views_off(self, _: web.Application) -> None:
        """Wait for the processes that showed something: asyncio complains of those that outlive its loop."""
        ends_at = time.monotonic() + LAST_S
        while views := psutil.Process().children():
            if time.monotonic() > ends_at:
                for view in views:
                    view.kill()
            await asyncio.sleep(LOOK_S)
        await asyncio.sleep(LOOK_S)  # for who waited for the last one to say so

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
        return hmac.compare_digest(text.encode(errors="replace"), self.secret.encode())
