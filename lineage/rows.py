"""Rows of the projected tables as values: where one stands, a new one, a changed one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEYS: dict[str, tuple[str, ...]] = {
    "run": ("run_id",),
    "phases": ("step",),
    "candidates": ("candidate_id",),
    "measurements": ("candidate_id", "repeat"),
    "inheritance": ("child_id",),
    "parent_draws": ("child_id", "parent_id"),
    "refusals": ("step", "reason"),
    "jobs": ("job_id",),
    "reignitions": ("reignition_id",),
    "epochs": ("job_id", "epoch"),
    "requests": ("seq",),
}
"""Tables and their primary keys."""

Address = tuple[Any, ...]  # table, then the values of its primary key
Values = dict[str, Any]  # columns; one that is missing is NULL; times are naive UTC
Rows = Mapping[Address, Values]


def address(table: str, values: Mapping[str, Any]) -> Address:
    """Where a row stands."""
    return (table, *(values[column] for column in KEYS[table]))


def new(table: str, **values: Any) -> dict[Address, Values]:
    """A row of those values alone."""
    return {address(table, values): values}


def changed(rows: Rows, at: Address, **values: Any) -> dict[Address, Values]:
    """A row with other values; nothing if it is not there."""
    return {at: {**rows[at], **values}} if at in rows else {}
