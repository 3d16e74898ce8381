create table t(a, b);
create temp trigger if not exists r after delete on t begin select 1; end;select 2