create table t(a, b);
create trigger r after insert on t begin
  update t set b = 1;
  delete from t where a is null;
end;
select 1;