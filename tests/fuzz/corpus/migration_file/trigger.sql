-- gameforge: up sqlite
CREATE TRIGGER r AFTER INSERT ON a BEGIN SELECT CASE WHEN 1 THEN 2 END; END;
/* block
-- gameforge: down
*/
-- gameforge: down
DROP TRIGGER r;
