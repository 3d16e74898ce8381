-- nothing
/* here /* nested; */ ; */
