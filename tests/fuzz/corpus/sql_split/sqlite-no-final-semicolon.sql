create table t(a);
select 1