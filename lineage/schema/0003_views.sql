-- Every trained candidate, best first.
CREATE VIEW leaderboard AS
SELECT
    row_number() OVER (ORDER BY ap DESC NULLS LAST, flops, candidate_id) AS rank,
    candidate_id, arch, phase, ap, ap50, params, flops, peak_memory_bytes, latency_ms, ignition, parent_id, checkpoint
FROM candidates
WHERE status = 'trained'
ORDER BY rank;

-- Candidates of the search that no other beats in AP and FLOPs at once. Fully trained ones are on another scale.
CREATE VIEW pareto_front AS
WITH searched AS (
    SELECT candidate_id, arch, phase, ap, ap50, params, flops, peak_memory_bytes, latency_ms, parent_id, checkpoint
    FROM candidates
    WHERE status = 'trained' AND ap IS NOT NULL AND phase IN ('serial', 'parallel')
)
SELECT *
FROM searched
WHERE NOT EXISTS (
    SELECT 1
    FROM searched AS other
    WHERE other.ap >= searched.ap AND other.flops <= searched.flops
        AND (other.ap > searched.ap OR other.flops < searched.flops)
)
ORDER BY ap DESC, flops, candidate_id;

-- Whose weights a candidate's weights came from, nearest first.
CREATE MACRO ancestors(id) AS TABLE
WITH RECURSIVE line AS (
    SELECT parent_id AS candidate_id, child_id AS via, 1 AS distance FROM inheritance WHERE child_id = id
    UNION
    SELECT edge.parent_id, edge.child_id, line.distance + 1
    FROM line JOIN inheritance AS edge ON edge.child_id = line.candidate_id
)
SELECT line.candidate_id, line.distance, candidates.arch, candidates.phase, candidates.status, candidates.ap, line.via
FROM line LEFT JOIN candidates USING (candidate_id)
ORDER BY line.distance;

-- Whose weights came from a candidate's, nearest first.
CREATE MACRO descendants(id) AS TABLE
WITH RECURSIVE line AS (
    SELECT child_id AS candidate_id, parent_id AS via, 1 AS distance FROM inheritance WHERE parent_id = id
    UNION
    SELECT edge.child_id, edge.parent_id, line.distance + 1
    FROM line JOIN inheritance AS edge ON edge.parent_id = line.candidate_id
)
SELECT line.candidate_id, line.distance, candidates.arch, candidates.phase, candidates.status, candidates.ap, line.via
FROM line LEFT JOIN candidates USING (candidate_id)
ORDER BY line.distance, line.candidate_id;
