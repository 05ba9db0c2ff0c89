"""`why`: the account of one candidate or reignition in sentences, from the facts of `lineage.explanation`. Reads only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from lineage.explanation import Facts, explain
from lineage.narration import JOB_NAMES, stalled_since
from lineage.snapshot import open_snapshot
from lineage.wording import duration, first_line, plural, quantity, reasons, some_of
from orchestrator.display import stdout_console
from orchestrator.inspection import outcome, print_json
from orchestrator.run_folder import find_run

SHOWN = 8  # children, rivals and the like in one line


def why(run: str, subject_id: str, as_json: bool) -> None:
    """Print why a candidate or reignition came to be, how it fared, and what came from it."""
    folder = find_run(run)
    live = folder.owner() is not None
    with open_snapshot(folder.database) as store:
        facts = explain(store, subject_id, live)
    if as_json:
        print_json(facts)
        return
    console = stdout_console()
    for line in account(facts):
        console.print(line, soft_wrap=True, style="bold" if line and not line.startswith(" ") else None)


def account(facts: Facts) -> Iterator[str]:
    """The account as lines; what belongs to a heading is indented."""
    parts = _reignition(facts) if "reignition" in facts else _candidate(facts)
    for heading, lines in parts:
        yield heading
        yield from (f"  {line}" for line in lines)


def _candidate(facts: Facts) -> Iterator[tuple[str, Iterator[str]]]:
    row = facts["candidate"]
    yield f"{row['candidate_id']} {row['arch']} {outcome(row)}", _what(facts)
    yield ("where it comes from" if row["status"] == "given" else "why it was proposed"), _reason(facts)
    if facts["inheritance"] is not None and facts["inheritance"]["tensors_copied"] is not None:
        yield "what it inherited", _inheritance(facts["inheritance"], facts["parent"])
    if row["status"] != "given":
        yield "its trainings", _trainings(facts["trainings"], row["seeds"])
        yield "how it ranked", _ranking(facts)
    yield "what came from it", _consequences(facts)


def _what(facts: Facts) -> Iterator[str]:
    row, run = facts["candidate"], facts["run"]
    proposed = "" if row["status"] == "given" else f", proposed {_moment(run, row)}"
    yield f"{_phase(row)} of {_run(run)}{proposed}"
    yield f"{quantity(row['params'])} parameters, {quantity(row['flops'])} multiply-adds{_measured(row)}"


def _measured(row: Facts) -> str:
    latency = "" if row["latency_ms"] is None else f", {row['latency_ms']:.4g} ms"
    memory = row["peak_memory_bytes"]
    return latency + ("" if memory is None else f", {quantity(memory)} bytes to train")


def _reason(facts: Facts) -> Iterator[str]:
    row, edge = facts["candidate"], facts["inheritance"]
    if row["audited_id"]:
        audited = facts["audited"]
        yield f"to audit {_named(audited) if audited else row['audited_id']}"
    if facts["control_of"]:
        children = some_of([one["candidate_id"] for one in facts["control_of"]], SHOWN)
        yield f"as a control: {row['parent_id']} trained on for as long as {children}, to compare with"
    if row["status"] == "given":
        yield f"given: {row['source']}"
    if edge is not None:
        yield from _descent(facts, edge)
    elif row["status"] != "given":
        yield "from scratch, without a parent"
    elif row["parent_id"]:
        yield f"its parent {row['parent_id']} is in the run it comes from"
    if row["reignition_id"]:
        yield f"its backbone is that of {row['reignition_id']}, retrained on classification"
    if facts["refused"]:
        count = sum(facts["refused"].values())
        yield f"{plural(count, 'draw')} refused before it: {reasons(facts['refused'])}"


def _descent(facts: Facts, edge: Facts) -> Iterator[str]:
    row, parent, draws = facts["candidate"], facts["parent"], facts["draws"]
    line = f"from {_named(parent)}"
    others = [one for one in draws if one["candidate_id"] != parent["candidate_id"]]
    if edge["probability"] is not None and others:
        better = sum(1 for one in others if (one["ap"] or 0) > (parent["ap"] or 0))
        rivals = [f"{one['candidate_id']} {one['probability']:.2f}" for one in others]
        line += f", drawn with probability {edge['probability']:.2f} against {some_of(rivals, SHOWN)}"
        line += f"; place {better + 1} of {len(draws)} by AP"
    elif edge["probability"] is not None and row["phase"] == "serial":
        line += ", the only parent that could be drawn"
    elif facts["refused"]:
        line += ", taken since no draw from the best gave a new network"
    yield line
    yield f"by {' '.join(edge['morphisms'])}: {_change(facts['diff'])}"


def _change(diff: Facts) -> str:
    """A change of the code, as ``111-2111 -> 1111-2111``, and what became of the blocks."""
    before, after = (diff[side]["arch"].split("_") for side in ("before", "after"))
    changes = [f"{old} -> {new}" for old, new in zip(before, after, strict=True) if old != new]
    blocks = [f"{diff[f'blocks_{what}']} {what}" for what in ("kept", "moved", "new", "gone") if diff[f"blocks_{what}"]]
    return f"{', '.join(changes) or 'the same network'} (blocks: {', '.join(blocks)})"


def _inheritance(edge: Facts, parent: Facts) -> Iterator[str]:
    what = "what fits of the detector" if edge["inherit"] == "detector" else "the backbone alone"
    counts = ", ".join(f"{edge[f'tensors_{how}']} {how}" for how in ("copied", "adapted", "new", "dropped"))
    yield f"{what} of {edge['parent_id']}, in tensors: {counts}"
    if edge["residual"] is None:
        yield "residual not measured"
    else:
        promise = "its morphisms promise 0" if edge["preserves_function"] else "nothing promises its parent's function"
        if edge["preserves_function"] and parent["status"] == "given":
            promise = "its parent may be of another detector, so 0 is not asked for"
        yield f"residual {edge['residual']:.2g} at birth: {promise}"
    if dead := edge["dead_tensors"]:
        yield f"warning: {plural(len(dead), 'new tensor')} can't learn: {', '.join(dead)}"
    elif dead is not None and edge["tensors_new"]:
        yield "every new tensor can learn"


def _trainings(trainings: list[Facts], repeats: int) -> Iterator[str]:
    for training in trainings:
        number = f"seed {training['repeat']} of {repeats}: " if repeats > 1 else ""
        for one in training["attempts"]:
            attempt = f"attempt {one['attempt']} " if len(training["attempts"]) > 1 else ""
            yield f"{number}{attempt}{_attempt(training, one)}"
    if len(trainings) < repeats:
        yield f"{plural(repeats - len(trainings), 'training')} not begun"


def _attempt(training: Facts, attempt: Facts) -> str:
    match attempt["outcome"]:
        case "failed":
            fault = f"{attempt['fault'].replace('_', ' ')}: {first_line(attempt['message'])}"
            return f"failed on {attempt['device']} after {duration(attempt['seconds'])}, {fault}"
        case "finished":
            epochs = "" if training["epochs"] is None else f"{plural(training['epochs'], 'epoch')} "
            return f"{_score(training)}, {epochs}on {attempt['device']} in {duration(attempt['seconds'])}"
        case "running":
            epochs = "" if training["epoch"] is None else f", {training['epoch']} of {training['epochs']} epochs done"
            return f"running on {attempt['device']}{epochs}"
    return f"interrupted on {attempt['device']}"


def _score(training: Facts) -> str:
    if training["accuracy"] is not None:
        return f"accuracy {training['accuracy']:.3f}"
    return "without a result" if training["ap"] is None else f"AP {training['ap']:.3f}"


def _ranking(facts: Facts) -> Iterator[str]:
    row, ranking = facts["candidate"], facts["ranking"]
    if row["ruled_out"]:
        yield f"not at all: it breaks a limit ({row['ruled_out']}), so it is neither a result nor a parent"
    elif row["status"] == "abandoned":
        yield f"not at all: it was abandoned, {row['fault'].replace('_', ' ')}: {first_line(row['message'])}"
    elif facts["is_control"]:
        yield "not at all: a control is no new network"
    elif ranking["rank"] is None:
        yield "not yet"
    else:
        yield f"place {ranking['rank']['rank']} of {ranking['rank']['ranked']} in the leaderboard"
        yield _front(facts)
    if gain := ranking["gain"]:
        compared = f"AP {gain['ap']:.3f} against {gain['control_ap']:.3f}"
        yield f"gain {gain['gain']:+.3f} over its control {gain['control_id']} ({compared})"
    elif (control := facts["control"]) and control["status"] != "trained":
        yield f"no gain is known: its control {control['candidate_id']} is {outcome(control)}"


def _front(facts: Facts) -> str:
    ranking, objectives = facts["ranking"], " and ".join(facts["run"]["objectives"])
    if not ranking["weighed"]:
        return "not weighed for the Pareto front, which is of searched networks with an AP"
    if ranking["on_front"]:
        return f"on the Pareto front of AP and {objectives}"
    rivals = [f"{one['candidate_id']} (AP {one['ap']:.3f})" for one in ranking["dominated_by"]]
    return f"off the Pareto front of AP and {objectives}: dominated by {some_of(rivals, SHOWN)}"


def _consequences(facts: Facts) -> Iterator[str]:
    children, descendants = facts["children"], facts["descendants"]
    for one in children[:SHOWN]:
        yield f"{one['candidate_id']} {outcome(one)} by {' '.join(one['morphisms'])}"
    if len(children) > SHOWN:
        yield f"and {len(children) - SHOWN} more children"
    if len(descendants) > len(children):
        yield f"{len(descendants)} descendants in all"
    for one in facts["reignitions"]:
        yield f"{one['reignition_id']} reignited it: {_lit(one)}"
    for one in facts["audits"]:
        way = "with the backbone alone" if one["parent_id"] else "from scratch"
        yield f"{one['candidate_id']} audits it {way}: {outcome(one)}"
    for step in facts["result_of"]:
        yield f"it is the result of step {step}"
    if not any(facts[what] for what in ("children", "reignitions", "audits", "result_of")):
        yield _nothing(facts["run"])


def _reignition(facts: Facts) -> Iterator[tuple[str, Iterator[str]]]:
    row, candidate = facts["reignition"], facts["candidate"]
    network = f" {candidate['arch']} {outcome(candidate)}" if candidate else ""
    yield f"{row['reignition_id']} reignition of {row['candidate_id']}{network}: {_lit(row)}", _when(facts)
    yield "why it was proposed", _trigger(row, facts["requested_by"])
    yield f"its {JOB_NAMES['reignite']}", _trainings(facts["trainings"], 1)
    yield "what grew from it", _grown(facts)


def _when(facts: Facts) -> Iterator[str]:
    row = facts["reignition"]
    yield f"step {row['step']} of {_run(facts['run'])}, proposed {_moment(facts['run'], row)}"


def _trigger(row: Facts, requested_by: str | None) -> Iterator[str]:
    since = stalled_since(row["candidates_since_best"], row["best_ap"], row["min_delta"], row["gains"])
    match row["trigger"]:
        case "start":
            yield "the configuration asks for it before anything grows"
        case "request":
            yield f"{requested_by or 'somebody'} requested it; by then: {since}, n_stuck {row['n_stuck']}"
        case _:
            yield f"growth had stalled: {since}, n_stuck {row['n_stuck']}"


def _grown(facts: Facts) -> Iterator[str]:
    for one in facts["successors"]:
        yield f"{one['candidate_id']} {outcome(one)}"
    if facts["descendants"]:
        yield f"and {plural(len(facts['descendants']), 'descendant')}"
    if best := facts["best"]:
        yield f"the best of them: {best['candidate_id']} {best['arch']} {outcome(best)}"
    if not facts["successors"]:
        yield _nothing(facts["run"])


def _lit(row: Facts) -> str:
    if row["status"] == "abandoned":
        return f"abandoned, {row['fault'].replace('_', ' ')}: {first_line(row['message'])}"
    return row["status"] if row["accuracy"] is None else f"accuracy {row['accuracy']:.3f}"


def _named(row: Facts) -> str:
    return (
        f"{row['candidate_id']}, {outcome(row)}"
        if row["status"] == "given"
        else f"{row['candidate_id']} ({outcome(row)})"
    )


def _moment(run: Facts, row: Facts) -> str:
    began, proposed = (datetime.fromisoformat(moment) for moment in (run["started_at"], row["proposed_at"]))
    return f"{duration((proposed - began).total_seconds())} into the run"


def _nothing(run: Facts) -> str:
    return "nothing" if run["status"] in ("completed", "failed") else "nothing so far"


def _phase(row: Facts) -> str:
    return f"{row['phase']} phase" + ("" if row["step"] == row["phase"] else f" ({row['step']})")


def _run(run: Facts) -> str:
    return f"{'simulated ' if run['simulated'] else ''}run {run['run_id']} ({run['status']})"
