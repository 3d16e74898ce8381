select 'a;'
  ';b' as x; select 2;