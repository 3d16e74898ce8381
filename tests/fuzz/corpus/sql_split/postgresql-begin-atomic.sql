create function g(i int) returns int language sql
begin atomic
  select case when i > 0 then 1 else 2 end;
  select i + 1;
end;
select 5;