-- depends: 1, 002
-- transaction: off
-- foreign-keys: off
-- timeout: 5min
-- lock-timeout: 500ms
-- compatible-back-to: 1
-- variables: owner, size = 10
-- irreversible
-- gameforge: up
ALTER TABLE a OWNER TO ${owner}; SELECT ${size};
-- gameforge: verify
SELECT count(*) = 0 FROM a;
