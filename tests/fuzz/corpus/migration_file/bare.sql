CREATE TABLE a (x INTEGER);
INSERT INTO a VALUES (1); -- gameforge: down
