create table t(a, b);
insert into t values ('a;b', 'it''s; so');select 2;