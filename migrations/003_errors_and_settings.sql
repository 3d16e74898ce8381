-- Errors that are alike, counted, and settings that outlive a process.

-- gameforge: up
CREATE TABLE error_groups (
  fingerprint text PRIMARY KEY,
  status integer NOT NULL,
  component text NOT NULL,
  message text NOT NULL,
  occurrences bigint NOT NULL DEFAULT 1 CHECK (occurrences > 0),
  first_seen_us bigint NOT NULL,
  last_seen_us bigint NOT NULL,
  last_job_id text,
  resolved_us bigint
);
CREATE INDEX error_groups_last_seen ON error_groups (last_seen_us);

CREATE TABLE settings (
  name text PRIMARY KEY,
  value text NOT NULL,
  changed_us bigint NOT NULL
);

-- gameforge: down
DROP TABLE settings;
DROP TABLE error_groups;
