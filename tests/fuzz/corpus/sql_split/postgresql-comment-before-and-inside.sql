-- first
select /* in */ 1 /* tail */ ; -- after
select 2 -- end
