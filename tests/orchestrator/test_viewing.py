"""What the terminal UI asks of a run on this machine, without a terminal."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lineage.events import CandidateProposed, RunStarted
from lineage.store import EventStore
from orchestrator.errors import InfrastructureError
from orchestrator.run_folder import RunFolder
from orchestrator.viewing import LocalRun
from tui.source import Contact, SourceError


@pytest.fixture
def run(tmp_path: Path) -> LocalRun:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    proposed = CandidateProposed(
        candidate_id="s-0001",
        step="serial",
        phase="serial",
        code="b_11-21_0-0",
        block_ids=(("s-0001.1", "s-0001.2"), ("s-0001.3", "s-0001.4")),
        base_width=16,
        params=1,
        flops=1,
    )
    started = RunStarted(run_id="run", seed=1, simulated=True, slots=1, window=1, config={})
    with EventStore.create(folder.database) as store:
        store.append([started, proposed], datetime(2026, 1, 1, tzinfo=UTC))
    return LocalRun(folder, "run")


async def test_an_answer_has_as_many_rows_as_are_wanted_and_says_if_there_are_more(run: LocalRun) -> None:
    answer = await run.query("SELECT seq, kind FROM events ORDER BY seq", 1)
    assert (answer.columns, list(map(list, answer.rows)), answer.is_whole) == (
        ("seq", "kind"),
        [[1, "RunStarted"]],
        False,
    )
    assert (await run.query("SELECT 1 AS a WHERE false", 5)).rows == []


async def test_many_ask_at_once_and_one_may_change_its_mind(run: LocalRun) -> None:
    cancelled = asyncio.create_task(run.query("SELECT count(*) FROM range(1000000000) a, range(1000000000) b", 1))
    answers = await asyncio.gather(*(run.query(f"SELECT {number} AS n FROM events", 10) for number in range(3)))
    assert [[row[0] for row in answer.rows] for answer in answers] == [[0, 0], [1, 1], [2, 2]]
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(cancelled, 30)


@pytest.mark.parametrize(
    ("statement", "words"),
    [("SELECT nonsense", "nonsense"), ("DROP TABLE events", "only SELECT"), ("SELECT 1; SELECT 2", "one SELECT")],
)
async def test_what_is_no_query_is_told(run: LocalRun, statement: str, words: str) -> None:
    with pytest.raises(SourceError, match=words):
        await run.query(statement, 1)


async def test_an_answer_becomes_a_file_but_never_one_of_the_run(run: LocalRun, tmp_path: Path) -> None:
    await run.export("SELECT seq FROM events ORDER BY seq", str(tmp_path / "answer.json"))
    assert json.loads((tmp_path / "answer.json").read_text()) == [{"seq": 1}, {"seq": 2}]
    for file, words in (
        (tmp_path / "answer.exe", "ends with .csv, .json, .parquet"),
        (tmp_path / "none" / "a.csv", "can't be written"),
    ):
        with pytest.raises(SourceError, match=words):
            await run.export("SELECT 1", str(file))
    own = tmp_path / "run" / "total_list_s.csv"
    own.write_text("kept")
    with pytest.raises(SourceError, match="belongs to run"):
        await run.export("SELECT 1", str(own))
    assert own.read_text() == "kept"


async def test_why_and_logs_are_told_or_why_not(run: LocalRun, tmp_path: Path) -> None:
    assert "s-0001" in await run.why("s-0001")
    with pytest.raises(SourceError, match="s-9"):
        await run.why("s-9")
    with pytest.raises(SourceError, match="wrote no log"):
        await run.log("s-0001", 10)
    (tmp_path / "run" / "logs").mkdir()
    (tmp_path / "run" / "logs" / "j-s-0001.log").write_text("one\ntwo\n")
    assert (await run.log("s-0001", 1)) == ["two"]


async def first_contacts(run: LocalRun, seconds: float) -> list[str]:
    """How a run is heard, one after the other."""
    told = []
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            async for news in run.news():
                if isinstance(news, Contact):
                    told.append(news.state)  # noqa: PERF401 - what came before the time was over
    return told


@pytest.mark.parametrize("ends", [True, False])
async def test_a_run_that_is_over_while_its_process_stays_is_heard_once_and_a_lost_bus_is_asked_again(
    run: LocalRun, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    heard = []

    async def once(_target: object, _after: int, gone_s: float) -> AsyncIterator[Contact]:
        heard.append(gone_s)
        yield Contact("live")
        if not ends:
            raise InfrastructureError("the broker did not come back")

    monkeypatch.setattr("orchestrator.viewing_remote.heard", once)
    monkeypatch.setattr("orchestrator.viewing.POLL_S", 0.1)
    monkeypatch.setattr(run, "_target", lambda: "its bus")
    monkeypatch.setattr(RunFolder, "process", lambda _: 1)
    assert set(await first_contacts(run, 2)) == {"live"}
    assert len(heard) == 1 if ends else len(heard) > 3
    assert set(heard) == {0}


async def test_what_the_system_refuses_is_told(run: LocalRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(SourceError, match="no file that can be replaced"):
        await run.export("SELECT 1", str(tmp_path / "pipe.csv"))
    (tmp_path / "there.csv").touch()
    assert [run.is_file(str(tmp_path / name)) for name in ("there.csv", "none.csv", "run")] == [True, False, False]
    monkeypatch.setenv("TMPDIR", str(tmp_path / "gone"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(SourceError, match="gone"):
        await run.query("SELECT 1", 1)


async def test_of_a_long_log_the_end_is_read(run: LocalRun, tmp_path: Path) -> None:
    (tmp_path / "run" / "logs").mkdir()
    with (tmp_path / "run" / "logs" / "j-s-0001.log").open("wb") as log:
        log.truncate(2**33)  # of which nothing is on the disk
        log.seek(0, os.SEEK_END)
        log.write(b"\nthe end\n")
    assert (await run.log("s-0001", 1)) == ["the end"]
