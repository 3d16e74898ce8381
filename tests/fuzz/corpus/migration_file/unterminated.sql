-- gameforge: up
SELECT 'a;
-- gameforge: down
SELECT $x$ b;
