-- What was generated, and with which weights.
-- Times are microseconds since the Unix epoch, hashes 64 hex digits of SHA-256, parameters a JSON object.

-- gameforge: up
CREATE TABLE models (
  content_hash text PRIMARY KEY CHECK (length(content_hash) = 64),
  name text NOT NULL,
  family text NOT NULL,
  path text NOT NULL,
  bytes bigint NOT NULL CHECK (bytes >= 0),
  first_seen_us bigint NOT NULL
);
CREATE INDEX models_name ON models (name);

CREATE TABLE assets (
  id text PRIMARY KEY,
  job_id text NOT NULL CHECK (length(job_id) = 32),
  image_index integer NOT NULL CHECK (image_index >= 0),
  request_hash text NOT NULL CHECK (length(request_hash) = 64),
  pixels_hash text NOT NULL CHECK (length(pixels_hash) = 64),
  model_hash text NOT NULL REFERENCES models (content_hash),
  path text NOT NULL,
  width_px integer NOT NULL CHECK (width_px > 0),
  height_px integer NOT NULL CHECK (height_px > 0),
  prompt text NOT NULL,
  negative_prompt text,
  -- As text, since a seed has 64 bits without a sign.
  seed text NOT NULL,
  parameters text NOT NULL,
  created_us bigint NOT NULL,
  UNIQUE (job_id, image_index)
);
-- The result cache: the same request has the same pixels.
CREATE INDEX assets_request ON assets (request_hash, image_index);
CREATE INDEX assets_pixels ON assets (pixels_hash);
CREATE INDEX assets_created ON assets (created_us);
CREATE INDEX assets_model ON assets (model_hash);

-- gameforge: down
DROP TABLE assets;
DROP TABLE models;
