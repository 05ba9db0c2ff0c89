-- Tables projected from the log (lineage/projections.py). No foreign keys: DuckDB refuses to update referenced rows.
CREATE TABLE run (
    run_id VARCHAR PRIMARY KEY,
    seed BIGINT NOT NULL,
    simulated BOOLEAN NOT NULL,
    slots INTEGER NOT NULL,
    status VARCHAR NOT NULL, -- running, stopped, completed, failed
    reason VARCHAR,
    best_candidate_id VARCHAR,
    started_at TIMESTAMP NOT NULL,
    finished_at TIMESTAMP
);

CREATE TABLE phases (
    step VARCHAR PRIMARY KEY,
    phase VARCHAR NOT NULL,
    status VARCHAR NOT NULL, -- running, finished
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
    status VARCHAR NOT NULL, -- proposed, running, trained, abandoned
    ap DOUBLE,
    ap50 DOUBLE,
    params BIGINT NOT NULL, -- predicted for backbone and neck, as measured once trained
    flops BIGINT NOT NULL, -- multiply-adds; predicted, as measured once trained
    peak_memory_bytes BIGINT,
    latency_ms DOUBLE,
    checkpoint VARCHAR,
    parent_id VARCHAR,
    reignition_id VARCHAR,
    ignition INTEGER NOT NULL,
    base_width INTEGER NOT NULL,
    fault VARCHAR,
    message VARCHAR,
    proposed_at TIMESTAMP NOT NULL,
    started_at TIMESTAMP, -- of the last attempt
    finished_at TIMESTAMP
);

CREATE TABLE inheritance (
    child_id VARCHAR PRIMARY KEY,
    parent_id VARCHAR NOT NULL,
    morphisms VARCHAR[] NOT NULL,
    preserves_function BOOLEAN NOT NULL, -- what the morphisms promise at birth
    tensors_copied BIGINT,
    tensors_adapted BIGINT,
    tensors_new BIGINT,
    tensors_dropped BIGINT,
    residual DOUBLE
);

CREATE TABLE jobs (
    job_id VARCHAR PRIMARY KEY,
    candidate_id VARCHAR, -- kind reignite: the candidate whose backbone is retrained
    reignition_id VARCHAR,
    kind VARCHAR NOT NULL,
    status VARCHAR NOT NULL, -- running, finished, failed, interrupted
    device VARCHAR NOT NULL,
    attempt INTEGER NOT NULL,
    fault VARCHAR,
    message VARCHAR,
    started_at TIMESTAMP NOT NULL,
    finished_at TIMESTAMP
);

CREATE TABLE epochs (
    job_id VARCHAR,
    epoch INTEGER,
    attempt INTEGER NOT NULL,
    epochs INTEGER NOT NULL,
    loss DOUBLE NOT NULL,
    ap DOUBLE, -- kind reignite: validation accuracy
    finished_at TIMESTAMP NOT NULL,
    PRIMARY KEY (job_id, epoch)
);

CREATE TABLE reignitions (
    reignition_id VARCHAR PRIMARY KEY,
    step VARCHAR NOT NULL,
    candidate_id VARCHAR NOT NULL,
    status VARCHAR NOT NULL, -- proposed, running, finished, abandoned
    n_stuck INTEGER NOT NULL,
    candidates_since_best INTEGER NOT NULL,
    best_ap DOUBLE NOT NULL,
    min_delta DOUBLE NOT NULL,
    accuracy DOUBLE,
    checkpoint VARCHAR,
    fault VARCHAR,
    message VARCHAR,
    proposed_at TIMESTAMP NOT NULL,
    started_at TIMESTAMP,
    finished_at TIMESTAMP
);
