-- gameforge: depend: 3
SELECT 1;
