select 1; -- don't stop
select 2;