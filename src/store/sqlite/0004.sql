-- The timeline of a run is its events, each with the one before it in the life of its run; the run has the last. Runs end in
-- no order, and so a table of timelines had a page to change for every event, somewhere.
ALTER TABLE events ADD COLUMN before INTEGER;
ALTER TABLE run_status ADD COLUMN last INTEGER;
UPDATE events SET before = earlier.before
    FROM (SELECT seq, lag(seq) OVER (PARTITION BY run ORDER BY seq) AS before FROM conditions) AS earlier
    WHERE events.seq = earlier.seq;
UPDATE run_status SET last = (SELECT max(conditions.seq) FROM conditions JOIN run_spec ON conditions.run = run_spec.id
    WHERE run_spec.seq = run_status.seq);
DROP TABLE conditions;
