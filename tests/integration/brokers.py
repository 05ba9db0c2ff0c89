"""Real brokers to publish to: Debian's mosquitto, with and without TLS, which can be stopped, killed and started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import trustme

USER, PASSWORD = "runner", "correct horse"
PROGRAM = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/opt/homebrew/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Mosquitto:
    """A broker that lets `USER` in."""

    folder: Path
    tls: bool = False
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        passwords = self.folder / "passwords"
        passwords.write_text(f"{USER}:{PASSWORD}\n")
        passwords.chmod(0o600)
        subprocess.run(["mosquitto_passwd", "-U", passwords], check=True, capture_output=True)
        (self.folder / "password").write_text(PASSWORD + "\n")
        lines = [f"listener {self.port} 127.0.0.1", f"password_file {passwords}", "allow_anonymous false"]
        if os.geteuid() == 0:
            lines.append("user root")
        if self.tls:
            authority = trustme.CA()
            certificate = authority.issue_cert("localhost")
            authority.cert_pem.write_to_path(str(self.folder / "ca.pem"))
            certificate.private_key_pem.write_to_path(str(self.folder / "key.pem"))
            certificate.cert_chain_pems[0].write_to_path(str(self.folder / "cert.pem"))
            lines += [f"certfile {self.folder / 'cert.pem'}", f"keyfile {self.folder / 'key.pem'}"]
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    @property
    def url(self) -> str:
        return f"{'mqtts' if self.tls else 'mqtt'}://{USER}@localhost:{self.port}"

    @property
    def settings(self) -> list[str]:
        """What a run is told to publish here."""
        found = [f"general.bus.url={self.url}", f"general.bus.password_file={self.folder / 'password'}"]
        if self.tls:
            found.append(f"general.bus.ca={self.folder / 'ca.pem'}")
        return [part for one in found for part in ("--set", one)]

    def start(self) -> None:
        assert PROGRAM is not None
        self.process = subprocess.Popen(
            [PROGRAM, "-c", self.folder / "mosquitto.conf"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 10
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


class Proxy:
    """A way to a broker that can be cut, so that the broker does not notice: it hears nothing more, and no end either."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server: asyncio.Server | None = None
        self._ways: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter, asyncio.Task[None]]] = []
        self.given_up = 0
        """Connections that were cut, and that the broker ended then."""

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._server is not None
        self._server.close()
        self.cut()
        for _, to_broker, task in self._ways:
            to_broker.close()
            task.cancel()

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self) -> None:
        """Cut what is connected now; who connects from now on gets through."""
        for writer, *_ in self._ways:
            writer.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection("127.0.0.1", self._to)

        async def back() -> None:
            while data := await from_broker.read(2**16):
                if not writer.is_closing():
                    writer.write(data)
            self.given_up += writer.is_closing()
            writer.close()

        self._ways.append((writer, to_broker, asyncio.create_task(back())))
        with contextlib.suppress(OSError):
            while data := await reader.read(2**16):
                to_broker.write(data)
