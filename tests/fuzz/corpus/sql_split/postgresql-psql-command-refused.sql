select 1;
\d t
select 2;