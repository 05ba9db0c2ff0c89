-- What people asked of the run, and what came of it.
CREATE TABLE requests (
    seq BIGINT PRIMARY KEY, -- of the event
    request VARCHAR NOT NULL, -- as it is typed: pause, continue, stop, reignite, cancel JOB, set KEY=VALUE
    who VARCHAR NOT NULL,
    refused VARCHAR, -- why, if it was
    requested_at TIMESTAMP NOT NULL
);
