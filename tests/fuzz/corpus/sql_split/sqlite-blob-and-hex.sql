create table t(a, b);
insert into t values (x'3b27', 0x3B); select 1;