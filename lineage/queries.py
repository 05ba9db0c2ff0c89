"""Named read-only SQL over the store, for status, tables and CSV files: `store.query(queries.LEADERBOARD, [10])`."""

from __future__ import annotations

RUN = "FROM run"

PHASES = "FROM phases ORDER BY started_at, step"

COUNTS = """
SELECT
    step, phase, count(*) AS total,
    count(*) FILTER (status = 'proposed') AS proposed,
    count(*) FILTER (status = 'running') AS running,
    count(*) FILTER (status = 'trained') AS trained,
    count(*) FILTER (status = 'abandoned') AS abandoned
FROM candidates
GROUP BY step, phase
ORDER BY min(proposed_at), step
"""
"""Candidates of each step by status."""

RUNNING_JOBS = """
SELECT
    job_id, device, kind, candidate_id, reignition_id, arch, attempt, jobs.started_at,
    max(epoch) AS epoch, max(epochs.epochs) AS epochs, arg_max(loss, epoch) AS loss
FROM jobs
LEFT JOIN candidates USING (candidate_id)
LEFT JOIN epochs USING (job_id, attempt)
WHERE jobs.status = 'running'
GROUP BY ALL
ORDER BY device
"""
"""What each busy device does, with the last epoch it finished (NULL: none yet)."""

LEADERBOARD = "FROM leaderboard LIMIT ?"

PARETO_FRONT = "FROM pareto_front"

REIGNITIONS = "FROM reignitions ORDER BY proposed_at, reignition_id"

TOTAL_LIST = """
SELECT
    child.arch,
    child.candidate_id AS worker_id,
    parent.arch AS pre_arch,
    child.parent_id AS pre_worker_id,
    child.started_at AS t_start,
    child.finished_at AS t_end,
    round(epoch(child.finished_at - child.started_at), 3) AS t_eclapsed,
    round(child.peak_memory_bytes / 1048576)::BIGINT AS memory,
    round(1000 / nullif(child.latency_ms, 0), 3) AS fps,
    child.ap AS "mAP"
FROM candidates AS child
LEFT JOIN candidates AS parent ON parent.candidate_id = child.parent_id
WHERE child.status = 'trained' AND child.phase = ?
ORDER BY child.finished_at, child.candidate_id
"""
"""Search record of a phase, in the columns of Vega's total_list_*.csv: seconds, MiB, images a second, AP from 0 to 1."""
