"""`start`, `resume`, `fork` and `check`: from arguments to a running search, and what is printed around it."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from lineage.cost import Heads
from lineage.moment import parse
from lineage.snapshot import open_snapshot
from orchestrator import auditing
from orchestrator.completeness import missing_events
from orchestrator.config import RunConfig
from orchestrator.config_file import config_text, load_config
from orchestrator.display import LineDisplay, stdout_console, table
from orchestrator.drive import Watchers
from orchestrator.ending import INTERRUPTED, is_terminal
from orchestrator.errors import UserError
from orchestrator.forking import fork_at, settings
from orchestrator.launch import Plan, fork_run, resume_run, start_run
from orchestrator.live.service import broker_of
from orchestrator.notices import notices
from orchestrator.outside import open_run
from orchestrator.preparation import check_data, check_limits, check_template, make_data
from orchestrator.run_folder import RunFolder, find_run, new_run
from orchestrator.search.state import SearchState
from orchestrator.sources import given_networks

COSTS = {"flops": "flops", "params": "params", "memory": "peak_memory_bytes", "latency": "latency_ms"}


def start(
    config_path: Path, run_dir: Path | None, overrides: list[str], simulate: bool, speed: float | None, tui: bool
) -> int:
    """Run a search; the exit code."""
    console = stdout_console()
    config = _load(config_path, overrides)
    folder = new_run(run_dir, config_path.stem)
    text, workdir = config_text(config_path), config_path.resolve().parent
    return run_new(console, folder, Plan(config, text, workdir, simulate), speed, tui)


def _load(path: Path, overrides: list[str]) -> RunConfig:
    """The configuration; what is given in it without an effect is told on standard error."""
    config = load_config(path, overrides)
    for notice in notices(config):
        sys.stderr.write(f"note: {notice}\n")
    return config


def run_new(
    console: Console, folder: RunFolder, plan: Plan, speed: float | None, tui: bool, as_json: bool = False
) -> int:
    """Prepare and run what is planned, in a new folder; the exit code."""
    if not plan.simulate:
        with console.status("loading the template and the data"):
            facts = check_template(plan.config, plan.workdir)
            make_data(plan.config, plan.workdir)
            check_data(plan.config, plan.workdir)
        heads = Heads(**facts["heads"]) if facts["heads"] else None
        plan = replace(plan, config=plan.config.fitted(facts["neck_channels"]), heads=heads)
    with _Watching(console, folder, tui) as watching:
        state = start_run(folder, plan, watching.watchers, speed)
    return _summarize(console, folder, state, as_json)


def resume(run: str, speed: float | None, tui: bool) -> int:
    """Go on with a run; the exit code."""
    console = stdout_console()
    folder = find_run(run)
    with open_snapshot(folder.database) as store:
        missing = missing_events(folder, store)
    if missing:
        sys.stderr.write(f"note: {missing}\n")
    with _Watching(console, folder, tui) as watching:
        state = resume_run(folder, watching.watchers, speed)
    return _summarize(console, folder, state)


def fork(run: str, at: str, overrides: list[str], run_dir: Path | None, speed: float | None, tui: bool) -> int:
    """Start a new run from where another one was at a moment; the exit code."""
    source = find_run(run)
    begun = fork_at(source, parse(at, datetime.now(UTC)))
    changes = settings(begun, overrides)
    folder = new_run(run_dir, f"{source.name}-fork")
    console = stdout_console()
    with _Watching(console, folder, tui) as watching:
        state = fork_run(folder, begun, watching.watchers, speed, changes)
    return _summarize(console, folder, state)


def audit(
    run: str, count: int, step: str | None, epochs: int | None, run_dir: Path | None, as_json: bool, tui: bool
) -> int:
    """Train candidates of a run again in other ways and compare; an audit itself is reported. The exit code."""
    folder = find_run(run)
    state = open_run(folder.path).state
    if _is_audit(state):
        if not state.is_over:
            raise UserError(f"the audit {run} is not over; go on with spnas-orch resume {shlex.quote(run)}")
        _print_audit(stdout_console(), folder, as_json)
        return 0
    plan = auditing.audit_plan(folder, count, step, epochs)
    console = Console(stderr=True, highlight=False, markup=False) if as_json else stdout_console()
    return run_new(console, new_run(run_dir, f"{folder.name}-audit"), plan, None, tui and not as_json, as_json)


def _is_audit(state: SearchState) -> bool:
    assert state.config is not None
    return state.config.steps[state.config.pipeline[0]].phase == "audit"


def _print_audit(console: Console, folder: RunFolder, as_json: bool = False) -> None:
    found = auditing.report(folder)
    if as_json:
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return
    console.print(auditing.table_of(found))
    console.print(auditing.sentence(found), soft_wrap=True)


def check(config_path: Path, overrides: list[str]) -> None:
    """Say what a configuration would do, or why it can't."""
    console = stdout_console()
    config = _load(config_path, overrides)
    workdir = config_path.resolve().parent
    broker_of(config.general.bus, workdir)
    console.print(f"template {workdir / config.template} (it is Python, and loading it runs it)")
    facts = check_template(config, workdir)
    heads = Heads(**facts["heads"]) if facts["heads"] else None
    with tempfile.TemporaryDirectory() as folder:
        given = given_networks(config, workdir, Path(folder), simulate=False, heads=heads)
    check_limits(config.fitted(facts["neck_channels"]), given, heads)
    counted = "" if facts["heads"] else f"; costs are of backbone and neck alone: {facts['heads_unknown']}"
    console.print(f"  loads: {facts['detector']}, {facts['classes']} classes{counted}", soft_wrap=True, markup=False)
    if config.general.make_data is None:
        check_data(config, workdir)
    for name in config.pipeline:
        console.print(f"step {name}: {_describe(config, name)}", markup=False)
    console.print(
        f"configuration and template can be used (no data set was opened): spnas-orch start {shlex.quote(str(config_path))}"
    )


class _Watching:
    """Lines on any output; on a terminal the UI, and lines once it is closed."""

    def __init__(self, console: Console, folder: RunFolder, tui: bool) -> None:
        self._lines = LineDisplay(console)
        self._lines.muted = self._has_ui = tui and console.is_terminal and is_terminal()
        self._folder = folder
        self._is_hung_up = False

    @property
    def watchers(self) -> Watchers:
        companion = self._show_ui if self._has_ui else None
        return Watchers((self._lines.show,), (self._lines.replay,), companion)

    async def _show_ui(self) -> None:
        from orchestrator.companion import show_beside

        try:
            await show_beside(self._folder.path, self._hang_up)
        finally:
            if not self._is_hung_up:
                self._lines.unmute()

    def _hang_up(self) -> None:
        self._is_hung_up = True

    def __enter__(self) -> _Watching:
        return self

    def __exit__(self, *exception: object) -> None:
        self._lines.close()


def _describe(config: RunConfig, name: str) -> str:
    step = config.steps[name]
    epochs = f"{step.trainer.epoch} epoch{'s' if step.trainer.epoch > 1 else ''}"
    if step.search_algorithm is None:
        return f"full training of {step.trainer.model_desc or 'the best network'}, {epochs}"
    return f"{step.phase} search, {step.search.max_sample} candidates of {epochs} each"


def _summarize(console: Console, folder: RunFolder, state: SearchState, as_json: bool = False) -> int:
    """The Pareto front, or what an audit found; where the files are, and what to type next; the exit code."""
    shown = folder.path.relative_to(Path.cwd()) if folder.path.is_relative_to(Path.cwd()) else folder.path
    if state.status == "stopped":
        with open_snapshot(folder.database) as store:
            ((reason,),) = store.query("SELECT reason FROM run").rows
        console.print(f"go on with: spnas-orch resume {shlex.quote(str(shown))}", soft_wrap=True)
        return INTERRUPTED if reason == "interrupted" else 1
    with open_snapshot(folder.database) as store:
        (simulated, reason, objectives), *_ = store.query("SELECT simulated, reason, objectives FROM run").rows
        shown_costs = dict.fromkeys(COSTS[name] for name in (*objectives, "flops", "params"))
        front = store.query(
            f"SELECT candidate_id AS candidate, arch, ap, {', '.join(shown_costs)} "
            "FROM pareto_front ORDER BY ap DESC, flops"
        )
    if state.status == "failed":
        console.print(f"the search failed: {reason}; the logs are in {shown / 'logs'}", soft_wrap=True, highlight=False)
        return 1
    if _is_audit(state):
        _print_audit(console, folder, as_json)
        return 0
    note = " (simulated)" if simulated else ""
    records = ""
    if front.rows:
        title = f"Pareto front{note}: AP after fast training against {', '.join(objectives)}"
        console.print(table(title, front.columns, front.rows))
        records = "total_list_*.csv, pareto_front.csv, "
    console.print(f"files: {shown}/ (lineage.duckdb, {records}models/, logs/)", soft_wrap=True)
    console.print(
        f'next:  spnas-orch sql {shlex.quote(str(shown))} "SELECT * FROM leaderboard"', soft_wrap=True, highlight=False
    )
    return 0
