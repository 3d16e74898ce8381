// What libpg_query calls in place of exit, abort and the standard streams: PostgreSQL's own code ends its process and
// writes to its log where a guest in a host's process must do neither. cmake/pg_query_calls.txt is the list.
#include <cstddef>
#include <cstdio>
#include <stdexcept>
#include <string>

#include <sys/select.h>

extern "C" {

// The parser's own errors come back as values. This is for what PostgreSQL calls fatal, which the grammar never
// raises: it ends at the firewall as a bug of ours, and Debian's archive has the tables to unwind through.
[[noreturn]] void gf_pg_query_exit(int) { throw std::runtime_error("PostgreSQL's grammar gave up"); }
[[noreturn]] void gf_pg_query_abort(void) { throw std::runtime_error("PostgreSQL's grammar gave up"); }
[[noreturn]] void gf_pg_query_assert_fail(const char* condition, const char*, unsigned, const char*) {
  throw std::runtime_error(std::string("PostgreSQL's grammar found untrue: ") + condition);
}

FILE* gf_pg_query_stdin = nullptr;
FILE* gf_pg_query_stdout = nullptr;
FILE* gf_pg_query_stderr = nullptr;
// Taken for written, so that nobody tries again.
std::size_t gf_pg_query_fwrite(const void*, std::size_t, std::size_t count, FILE*) { return count; }
std::size_t gf_pg_query_fread(void*, std::size_t, std::size_t, FILE*) { return 0; }
int gf_pg_query_getc(FILE*) { return EOF; }
int gf_pg_query_fflush(FILE*) { return 0; }
int gf_pg_query_ferror(FILE*) { return 0; }
void gf_pg_query_clearerr(FILE*) {}
int gf_pg_query_select(int, fd_set*, fd_set*, fd_set*, timeval*) { return 0; }

}  // extern "C"
