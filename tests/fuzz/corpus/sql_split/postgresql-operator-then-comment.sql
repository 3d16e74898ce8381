select 1 +-- ; no
 2; select 4