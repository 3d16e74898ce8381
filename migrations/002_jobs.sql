-- Jobs and what happened to them.

-- gameforge: up
CREATE TABLE jobs (
  id text PRIMARY KEY CHECK (length(id) = 32),
  owner text,
  idempotency_key text,
  priority text NOT NULL CHECK (priority IN ('high', 'normal', 'low')),
  state text NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'cancelled', 'dead', 'expired')),
  status integer NOT NULL DEFAULT 0,
  attempts integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
  host_tag text NOT NULL DEFAULT '0',
  request text NOT NULL,
  request_hash text NOT NULL CHECK (length(request_hash) = 64),
  submitted_us bigint NOT NULL,
  started_us bigint,
  ended_us bigint
);
CREATE UNIQUE INDEX jobs_idempotency ON jobs (owner, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_state ON jobs (state, submitted_us);
CREATE INDEX jobs_owner ON jobs (owner, submitted_us);

-- gameforge: up sqlite
CREATE TABLE job_events (
  id integer PRIMARY KEY,
  job_id text NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  at_us bigint NOT NULL,
  kind text NOT NULL,
  detail text
);

-- gameforge: up postgresql
CREATE TABLE job_events (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  job_id text NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  at_us bigint NOT NULL,
  kind text NOT NULL,
  detail text
);

-- gameforge: up
CREATE INDEX job_events_job ON job_events (job_id, id);

-- gameforge: down
DROP TABLE job_events;
DROP TABLE jobs;
