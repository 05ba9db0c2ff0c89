-- Given networks, repeated trainings, limits, controls, audits, and what was refused or could have been drawn.
-- Tables that get columns are made anew: DuckDB adds none that are NOT NULL, and all are filled from the log afterwards.
DROP VIEW leaderboard;
DROP VIEW pareto_front;
DROP TABLE run;
DROP TABLE candidates;
DROP TABLE inheritance;
DROP TABLE jobs;
DROP TABLE reignitions;

CREATE TABLE run (
    run_id VARCHAR PRIMARY KEY,
    seed BIGINT NOT NULL,
    simulated BOOLEAN NOT NULL,
    slots INTEGER NOT NULL,
    objectives VARCHAR[] NOT NULL, -- what pareto_front weighs AP against: flops, params, memory, latency
    status VARCHAR NOT NULL, -- running, paused, stopping, stopped, completed, failed
    reason VARCHAR,
    best_candidate_id VARCHAR,
    started_at TIMESTAMP NOT NULL,
    finished_at TIMESTAMP
);

CREATE TABLE candidates (
    candidate_id VARCHAR PRIMARY KEY,
    arch VARCHAR NOT NULL,
    step VARCHAR NOT NULL,
    phase VARCHAR NOT NULL,
    status VARCHAR NOT NULL, -- given, proposed, running, trained, abandoned
    source VARCHAR, -- of a given one: where it comes from, in the user's words
    ap DOUBLE, -- mean over its trainings; of a given one: as recorded elsewhere
    ap50 DOUBLE, -- mean
    params BIGINT NOT NULL, -- predicted; as measured once trained
    flops BIGINT NOT NULL, -- multiply-adds; predicted, as measured once trained
    peak_memory_bytes BIGINT, -- highest of its trainings
    latency_ms DOUBLE, -- mean
    checkpoint VARCHAR, -- of the training with the highest AP
    parent_id VARCHAR,
    inherit VARCHAR, -- what comes from the parent: detector, backbone, nothing
    reignition_id VARCHAR,
    ignition INTEGER NOT NULL,
    base_width INTEGER NOT NULL,
    seeds INTEGER NOT NULL, -- how often it is trained
    running INTEGER NOT NULL, -- how many of its trainings run now
    control_id VARCHAR, -- its parent trained for the same extra epochs
    audited_id VARCHAR, -- the candidate that it trains again
    refused BIGINT NOT NULL, -- draws thrown away before it
    ruled_out VARCHAR, -- the limit it breaks as measured: it is neither a result nor a parent
    fault VARCHAR,
    message VARCHAR,
    proposed_at TIMESTAMP NOT NULL,
    started_at TIMESTAMP, -- of the last attempt; of the first training once trained
    finished_at TIMESTAMP
);

-- One training of a candidate, from its own seed.
CREATE TABLE measurements (
    candidate_id VARCHAR,
    repeat INTEGER,
    job_id VARCHAR NOT NULL,
    ap DOUBLE,
    ap50 DOUBLE,
    params BIGINT,
    flops BIGINT,
    peak_memory_bytes BIGINT,
    latency_ms DOUBLE,
    checkpoint VARCHAR NOT NULL,
    checkpoint_bytes BIGINT,
    deleted_at TIMESTAMP, -- when the weights went, to keep to general.keep_checkpoints or general.disk_quota
    finished_at TIMESTAMP NOT NULL,
    PRIMARY KEY (candidate_id, repeat)
);

-- No key, for a list in it changes: DuckDB deletes such a row and inserts it anew, and ends the process where a commit finds
-- no room and that is to be taken back in an index.
CREATE TABLE inheritance (
    child_id VARCHAR NOT NULL, -- one row each
    parent_id VARCHAR NOT NULL,
    probability DOUBLE, -- with which the parent was drawn; NULL: it was not drawn
    morphisms VARCHAR[] NOT NULL,
    preserves_function BOOLEAN NOT NULL, -- what the morphisms promise at birth
    inherit VARCHAR NOT NULL, -- detector, backbone
    tensors_copied BIGINT,
    tensors_adapted BIGINT,
    tensors_new BIGINT,
    tensors_dropped BIGINT,
    residual DOUBLE,
    dead_tensors VARCHAR[] -- new ones that no gradient reaches; NULL: not measured
);

-- Every parent that could have been drawn for a child.
CREATE TABLE parent_draws (
    child_id VARCHAR,
    parent_id VARCHAR,
    probability DOUBLE NOT NULL,
    PRIMARY KEY (child_id, parent_id)
);

-- Draws thrown away: duplicate, or the limit that the network would break.
CREATE TABLE refusals (
    step VARCHAR,
    reason VARCHAR,
    count BIGINT NOT NULL,
    PRIMARY KEY (step, reason)
);

CREATE TABLE jobs (
    job_id VARCHAR PRIMARY KEY,
    candidate_id VARCHAR, -- kind reignite: the candidate whose backbone is retrained
    reignition_id VARCHAR,
    kind VARCHAR NOT NULL,
    status VARCHAR NOT NULL, -- running, finished, failed, interrupted
    device VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    repeat INTEGER NOT NULL,
    blocked VARCHAR, -- why it waits: no room on the disk
    fault VARCHAR,
    message VARCHAR,
    started_at TIMESTAMP NOT NULL,
    finished_at TIMESTAMP
);

CREATE TABLE reignitions (
    reignition_id VARCHAR PRIMARY KEY,
    step VARCHAR NOT NULL,
    candidate_id VARCHAR NOT NULL,
    trigger VARCHAR NOT NULL, -- stall, start, request
    status VARCHAR NOT NULL, -- proposed, running, finished, abandoned
    n_stuck INTEGER NOT NULL,
    candidates_since_best INTEGER NOT NULL,
    best_ap DOUBLE NOT NULL,
    min_delta DOUBLE NOT NULL,
    gains DOUBLE[] NOT NULL, -- in a paired search: of the last children, none of which beat its control
    accuracy DOUBLE,
    checkpoint VARCHAR,
    deleted_at TIMESTAMP, -- when its weights went
    fault VARCHAR,
    message VARCHAR,
    proposed_at TIMESTAMP NOT NULL,
    started_at TIMESTAMP,
    finished_at TIMESTAMP
);

-- Parents that were trained on for their children to be compared with: no results.
CREATE VIEW controls AS
SELECT edge.child_id AS candidate_id
FROM inheritance AS edge JOIN candidates AS parent ON parent.candidate_id = edge.parent_id
WHERE edge.morphisms = ['continue'] AND parent.status <> 'given';

-- Every trained candidate within the limits, best first; controls are none.
CREATE VIEW leaderboard AS
SELECT
    row_number() OVER (ORDER BY ap DESC NULLS LAST, flops, candidate_id) AS rank,
    candidate_id, arch, phase, ap, ap50, params, flops, peak_memory_bytes, latency_ms, ignition, parent_id, checkpoint
FROM candidates
WHERE status = 'trained' AND ruled_out IS NULL AND candidate_id NOT IN (FROM controls)
ORDER BY rank;

-- Ranked candidates of the search and their cost by each objective of the run: 0 where it is none, infinite where it is
-- not known. Fully trained and audited ones are on another scale.
CREATE VIEW weighed AS
WITH weighing AS (SELECT coalesce((SELECT any_value(objectives) FROM run), ['flops']) AS objectives)
SELECT
    leaderboard.* EXCLUDE (rank, ignition),
    if(list_contains(objectives, 'flops'), flops, 0)::DOUBLE AS flops_cost,
    if(list_contains(objectives, 'params'), params, 0)::DOUBLE AS params_cost,
    if(list_contains(objectives, 'memory'), coalesce(peak_memory_bytes, 'infinity'::DOUBLE), 0) AS memory_cost,
    if(list_contains(objectives, 'latency'), coalesce(latency_ms, 'infinity'::DOUBLE), 0) AS latency_cost
FROM leaderboard, weighing
WHERE ap IS NOT NULL AND phase IN ('serial', 'parallel');

-- Which candidates beat which in AP and all objectives at once.
CREATE VIEW dominated AS
SELECT worse.candidate_id, better.candidate_id AS by_id
FROM weighed AS worse
JOIN weighed AS better
    ON better.ap >= worse.ap
    AND better.flops_cost <= worse.flops_cost AND better.params_cost <= worse.params_cost
    AND better.memory_cost <= worse.memory_cost AND better.latency_cost <= worse.latency_cost
    AND (
        better.ap > worse.ap
        OR better.flops_cost < worse.flops_cost OR better.params_cost < worse.params_cost
        OR better.memory_cost < worse.memory_cost OR better.latency_cost < worse.latency_cost
    )
ORDER BY worse.candidate_id, better.ap DESC, better.candidate_id;

-- Candidates of the search that no other dominates.
CREATE VIEW pareto_front AS
SELECT candidate_id, arch, phase, ap, ap50, params, flops, peak_memory_bytes, latency_ms, parent_id, checkpoint
FROM weighed
WHERE candidate_id NOT IN (SELECT candidate_id FROM dominated)
ORDER BY ap DESC, flops, candidate_id;

-- What morphisms brought: a child's AP against that of its parent trained for the same extra epochs.
CREATE VIEW gains AS
SELECT
    child.candidate_id AS child_id, child.parent_id, child.control_id, child.ap, control.ap AS control_ap,
    round(child.ap - control.ap, 6) AS gain
FROM candidates AS child
JOIN candidates AS control ON control.candidate_id = child.control_id
WHERE child.status = 'trained' AND control.status = 'trained'
ORDER BY child_id;
