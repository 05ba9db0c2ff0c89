"""The terminal UI in a browser: a real one sees a run and has its keys; nobody is let in without the secret."""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from simulated import COMMAND

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


@pytest.fixture
def served(tmp_path: Path, finished: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A finished run that is served, and its address."""
    command = [COMMAND, "watch", str(finished), "--web"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        found = re.fullmatch("open the address in (.*)\n", process.stdout.readline())
        assert found, process.communicate(timeout=30)
        file = Path(found[1])
        assert file.stat().st_mode & 0o777 == 0o600
        yield process, file.read_text().strip()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
        assert (process.returncode, told) == (0, "")
        assert not file.exists()


def status(address: str, **headers: str) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")
async def test_a_browser_shows_the_run_and_has_its_keys(
    served: tuple[subprocess.Popen[str], str], tmp_path: Path
) -> None:
    from playwright.async_api import WebSocket, async_playwright

    shown: list[str] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: shown.append(frame if isinstance(frame, str) else frame.decode()))

    async def seen(*texts: str) -> None:
        async with asyncio.timeout(30):
            while not all(text in SEQUENCE.sub("", "".join(shown)) for text in texts):
                await asyncio.sleep(0.05)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 1400, "height": 800})
        page.on("websocket", listen)
        await page.goto(served[1])
        assert "secret" not in page.url
        await seen("SIMULATED", "finished", "AP over candidates", "Leaderboard")
        await page.wait_for_selector(".xterm-helper-textarea:focus", state="attached")
        shown.clear()
        await page.keyboard.press("2")
        await seen("Code against its parent's")
        await page.keyboard.press("q")
        await page.wait_for_selector("text=The view is closed; the run goes on")
        assert (await page.screenshot())[:4] == b"\x89PNG"
        await browser.close()


def test_nobody_is_let_in_without_the_secret_or_from_another_site(served: tuple[subprocess.Popen[str], str]) -> None:
    process, address = served
    parts = urlsplit(address)
    bare = f"http://{parts.netloc}"
    assert parts.hostname == "127.0.0.1"
    assert status(address) == 403  # the redirection has no cookie here, as a client without cookies
    assert {status(f"{bare}{path}") for path in ("/", "/ws", "/static/js/textual.js", "/?secret=wrong")} == {403}
    assert status(address, Host="evil.example") == 403
    assert status(address, Origin="http://evil.example") == 403
    assert parts.query.partition("=")[2] not in Path(f"/proc/{process.pid}/cmdline").read_text()


def test_a_port_that_is_taken_is_told(served: tuple[subprocess.Popen[str], str], tmp_path: Path) -> None:
    port = urlsplit(served[1]).port
    command = [COMMAND, "watch", "run", "--web", "--port", str(port)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert f"port {port} can't be had" in done.stderr
    assert "name another with --port" in done.stderr


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")
async def test_views_end_with_a_server_that_is_killed(tmp_path: Path, finished: Path) -> None:
    from playwright.async_api import async_playwright

    command = [COMMAND, "watch", str(finished), "--web"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = Path(process.stdout.readline().removeprefix("open the address in ").strip()).read_text().strip()
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = await browser.new_page()
            await page.goto(address)
            await page.wait_for_selector(".xterm-helper-textarea:focus", state="attached")
            views = psutil.Process(process.pid).children(recursive=True)
            assert views
            process.kill()
            _, left = psutil.wait_procs(views, timeout=30)
            await browser.close()
    assert not left
