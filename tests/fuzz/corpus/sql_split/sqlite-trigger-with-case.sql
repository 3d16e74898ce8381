create table t(a, b);
create trigger r before update on t when new.a > 0 begin
  update t set b = case when new.a > 1 then case new.b when 2 then 3 end else 4 end;
end;
select 2;