-- depends: 1, 002
-- ck-to: 1
-- variables: ownem, size = 1ameforge: up;ALTER TABLE a OWNER TO ${owner}; SELo: 1
-- variablECT ${size}﻿- gamefongameforles: ownem, size = 0ameforge: up
ALTER TABLE a OWNER TO $﻿%{own-- variables: a =P  -000000000000000eg00000er}; SELECT ${size};
-- gam0