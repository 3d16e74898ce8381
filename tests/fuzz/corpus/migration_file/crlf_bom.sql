-- gameforge: up
CREATE TABLE a (x INTEGER);
-- gameforge: down
DROP TABLE a;
