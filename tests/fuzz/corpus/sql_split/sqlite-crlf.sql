create table t(a);
-- note
insert into t values (1);
