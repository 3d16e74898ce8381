-- gameforge: up sqlite
CREATE TABLE a (x INTEGER);
-- gameforge: up postgresql
CREATE TABLE a (x int);
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1; -- gameforge: down
$$;
-- gameforge: down
DROP TABLE a;
