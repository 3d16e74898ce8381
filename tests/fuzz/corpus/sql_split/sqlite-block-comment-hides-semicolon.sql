create table t(a, b);
select 1 /* ; */ + 2;select 3;