create table t(a, b);
create trigger r after insert on t begin
 select 1;
