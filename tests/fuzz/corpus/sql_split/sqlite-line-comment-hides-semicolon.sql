create table t(a, b);
select 1 -- not here; no
+ 2; select 3;