select 1;
do $x$ begin
