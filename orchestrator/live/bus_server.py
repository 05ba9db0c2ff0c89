"""A process that publishes a live run's events on MQTT and hears requests there: `python -m orchestrator.live.bus_server`.

Its first line of input is a `Setup`, the others are events as they become durable, and answers to requests; its output
are the address of the broker, and requests that are signed with the run's key. It runs the embedded broker where no
other is named, and says what the devices do. It ends with its input, once the broker has all events, or some seconds
later. A process of its own, so that no broker and no client takes time or memory from the search.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from typing import Any

from lineage.events import Recorded
from orchestrator.live.beside import TOO_MUCH, end, give_way, resident_bytes
from orchestrator.live.bus_setup import Setup
from orchestrator.live.devices import Meter
from orchestrator.live.ending import end_process_after
from orchestrator.live.server import LAST_S, Server, open_way

MAX_BYTES = 2**30  # of memory: clients that do not read are kept for by the embedded broker
LINE_LIMIT_BYTES = 2**25
USES_S = 2.0  # between two looks at what the devices do; who hears nothing for long knows that the bus is stuck
MORE_S = 0.8  # than the last events have, to leave the broker


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


async def serve(setup: Setup, lines: asyncio.StreamReader) -> None:
    way = await open_way(setup)
    say({"mqtt": way.offered.model_dump()})
    server = Server(setup, way, say)
    async with asyncio.TaskGroup() as group:
        beside = [group.create_task(task) for task in (server.run(), _measure(server), _end_beyond(MAX_BYTES))]
        while line := await lines.readline():
            said = json.loads(line)
            if "answer" in said:
                server.desk.answer(said)
            else:
                server.publisher.publish(Recorded.model_validate(said))
        await server.rest()
        for task in beside:
            task.cancel()


class _Input(asyncio.StreamReaderProtocol):
    """Lines on standard input: this process ends with them, whatever hangs in it."""

    def eof_received(self) -> bool | None:
        end_process_after(LAST_S + MORE_S)
        return super().eof_received()


async def _measure(server: Server) -> None:
    """Say what the devices of the search do."""
    meter = Meter(os.getppid())
    while True:
        uses = await asyncio.to_thread(meter.read)
        await server.publisher.say(uses.model_dump_json(), "devices")
        await asyncio.sleep(USES_S)


async def _end_beyond(most_bytes: int) -> None:
    """End this process once it takes more memory; whoever started it starts another."""
    while resident_bytes() <= most_bytes:
        await asyncio.sleep(1)
    end(TOO_MUCH, f"clients that do not read took more than {most_bytes} bytes")


async def main() -> None:
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(message)s")
    give_way(5)
    lines = asyncio.StreamReader(limit=LINE_LIMIT_BYTES)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: _Input(lines), sys.stdin)
    await serve(Setup.model_validate_json(await lines.readline()), lines)
    end(0)  # the embedded broker would wait for its clients


if __name__ == "__main__":
    asyncio.run(main())
