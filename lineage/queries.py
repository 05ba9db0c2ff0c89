"""Named read-only SQL over the store, for status, tables and CSV files: `store.query(queries.LEADERBOARD, [10])`."""

from __future__ import annotations

RUN = "FROM run"

PHASES = """
WITH own AS (
    SELECT *, candidate_id IN (FROM controls) AS is_control FROM candidates WHERE status <> 'given'
)
SELECT
    step, phases.phase, phases.status,
    count(candidate_id) FILTER (NOT is_control) AS candidates,
    count(candidate_id) FILTER (NOT is_control AND own.status = 'trained') AS trained,
    count(ruled_out) FILTER (NOT is_control) AS ruled_out,
    count(candidate_id) FILTER (own.status = 'abandoned' AND NOT is_control) AS abandoned,
    count(candidate_id) FILTER (is_control) AS controls,
    (SELECT coalesce(sum(count), 0)::BIGINT FROM refusals WHERE step = phases.step) AS refused,
    max(ap) FILTER (own.status = 'trained' AND ruled_out IS NULL AND NOT is_control) AS best_ap,
    phases.reason
FROM phases
LEFT JOIN own USING (step)
GROUP BY ALL
ORDER BY min(phases.started_at), step
"""
"""The pipeline's steps so far. Controls, parents trained on to compare with, are counted apart; `refused` counts draws
that were thrown away."""

GIVEN = "SELECT candidate_id, arch, source, ap, step FROM candidates WHERE status = 'given' ORDER BY candidate_id"
"""Networks that steps start from and no step of this run trained; their AP is what was recorded of them elsewhere."""

RULED_OUT = """
SELECT candidate_id, arch, phase, ap, ruled_out FROM candidates
WHERE ruled_out IS NOT NULL ORDER BY ap DESC NULLS LAST, candidate_id LIMIT ?
"""
"""The best of the trained candidates that break a limit."""

RUNNING = """
SELECT
    device, job_id, kind, candidate_id, jobs.reignition_id, arch, repeat, attempt, jobs.started_at,
    max(epoch) AS epoch, max(epochs.epochs) AS epochs, arg_max(loss, epoch) AS loss, blocked
FROM jobs
LEFT JOIN candidates USING (candidate_id)
LEFT JOIN epochs USING (job_id, attempt)
WHERE jobs.status = 'running'
GROUP BY ALL
ORDER BY device, job_id
"""
"""What each busy device does, with the last epoch it finished (NULL: none yet)."""

LEADERBOARD = "FROM leaderboard LIMIT ?"

PARETO_FRONT = "FROM pareto_front"

FULLY_TRAINED = "SELECT candidate_id, checkpoint FROM leaderboard WHERE phase = 'fullytrain'"

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
    child.ap AS "mAP",
    child.ruled_out
FROM candidates AS child
LEFT JOIN candidates AS parent ON parent.candidate_id = child.parent_id
WHERE child.status = 'trained' AND child.step = ? AND child.candidate_id NOT IN (FROM controls)
ORDER BY child.candidate_id
"""
"""Search record of a step, in the columns of Vega's total_list_*.csv (seconds, MiB, images a second, AP from 0 to 1), and
the limit that a network breaks."""
