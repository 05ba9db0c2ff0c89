"""A broker of the user's that missed the end of a run gets it when somebody resumes the run, though that is over."""

from __future__ import annotations

import secrets

from orchestrator import ending
from orchestrator.general import Bus
from orchestrator.live.bus_setup import Setup
from orchestrator.live.messages import State
from orchestrator.live.service import Broker, client_id
from orchestrator.live.serving import serving
from orchestrator.run_folder import RunFolder


def catch_up(folder: RunFolder, bus: Bus, broker: Broker, state: State, last_seq: int) -> None:
    """Publish the events up to `last_seq` that the broker has not yet, and how the run ended.

    Raises:
        InfrastructureError: the broker can't be reached.
    """
    setup = Setup(
        database=folder.database,
        published=folder.published,
        run=folder.name,
        key=secrets.token_hex(16),  # nobody has it: a run that is over does as it is told by nobody
        client_id=client_id(folder),
        prefix=bus.prefix,
        url=bus.url,
        password=broker.password,
        ca=broker.ca,
    )
    ending.run(_catch_up(setup, state, last_seq))


async def _catch_up(setup: Setup, state: State, last_seq: int) -> None:
    async with serving(setup) as found:
        publisher = found.server.publisher
        publisher.stand(state, last_seq)
        try:
            await found.until(lambda: publisher.is_done)
        finally:
            found.server.note(publisher.seq)
