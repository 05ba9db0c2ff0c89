-- Where a run comes from that began as a fork of another: that run's folder, and the last event they share.
ALTER TABLE run ADD COLUMN forked_from VARCHAR;
ALTER TABLE run ADD COLUMN forked_at_seq BIGINT;
