"""Which run is meant, and how it is reached: by its folder or name on this machine, or by a URL of its broker."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

from lineage.snapshot import open_snapshot
from orchestrator import broker_url
from orchestrator.broker_url import without_password
from orchestrator.errors import InfrastructureError, UserError
from orchestrator.live import endpoint
from orchestrator.live.address import Address, address_of
from orchestrator.live.client import Target
from orchestrator.live.endpoint import Endpoint
from orchestrator.live.service import bus_of
from orchestrator.run_folder import RunFolder

PASSWORD, KEY = "SPNAS_MQTT_PASSWORD", "SPNAS_RUN_KEY"
PREPARATION_S = 15.0  # that a run has from its lock to its endpoint
PAUSE_S = 0.1


def remote(url: str, ca: Path | None) -> Target:
    """A run by ``mqtt[s]://[user@]host[:port]/[prefix/]RUN``; password and key come from the environment.

    Raises:
        UserError: it is no such URL, or holds a password.
    """
    shown, form = without_password(url), "expected mqtt://[user@]host[:port]/RUN, or mqtts://..."
    try:
        parts = broker_url.parse(url)
    except broker_url.HoldsPassword as error:
        raise UserError(
            f"a URL with a password is seen by everyone on this machine: put it in ${PASSWORD} instead"
        ) from error
    except ValueError as error:
        raise UserError(f"{shown} names no run on a broker (it {error}): {form}") from error
    *prefix, run = unquote(parts.path).strip("/").split("/")
    if not run:
        raise UserError(f"{shown} names no run on a broker: {form}")
    password = os.environ.get(PASSWORD)
    source = f"${PASSWORD}" + (", which is not set" if password is None else "")
    address = _address(url, password, ca)
    return Target(address, "/".join(prefix) or "spnas", run, os.environ.get(KEY), source)


def live(folder: RunFolder, run: str) -> Target:
    """A live run on this machine.

    Raises:
        UserError: it is not live, or serves nothing.
        InfrastructureError: it has not told yet where it can be reached.
    """
    offered = _offered(folder, run)
    assert offered.mqtt is not None
    with open_snapshot(folder.database) as store:
        bus, broker = bus_of(store)
    mqtt = offered.mqtt
    address = _address(mqtt.url, mqtt.password or broker.password, broker.ca)
    if mqtt.password is None:
        return Target(address, bus.prefix, folder.name, offered.key, "general.bus of the run's configuration")
    address = replace(address, username=mqtt.username)
    return Target(address, bus.prefix, folder.name, offered.key, str(folder.endpoint))


def _offered(folder: RunFolder, run: str) -> Endpoint:
    deadline = time.monotonic() + PREPARATION_S
    while True:
        owner = folder.owner()
        if owner is None:
            raise UserError(f"run {run} is not live: start or resume it first")
        found = endpoint.read(folder.endpoint, owner)
        if found is not None and found.mqtt is not None:
            return found
        if time.monotonic() > deadline:
            raise InfrastructureError(
                f"process {owner} offers no bus in {folder.endpoint}: see {folder.logs / 'bus.log'}; a simulation "
                "without --speed offers none"
            )
        time.sleep(PAUSE_S)


def _address(url: str, password: str | None, ca: Path | None) -> Address:
    try:
        return address_of(url, password, ca)
    except OSError as error:
        raise UserError(f"the certificate {ca} can't be read: {error}") from error
