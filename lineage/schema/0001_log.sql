-- The log: what happened, appended once, never changed. Times are UTC everywhere.
CREATE TABLE events (
    seq BIGINT PRIMARY KEY,
    event_id VARCHAR NOT NULL UNIQUE,
    ts TIMESTAMP NOT NULL,
    kind VARCHAR NOT NULL,
    version INTEGER NOT NULL,
    payload JSON NOT NULL
);
