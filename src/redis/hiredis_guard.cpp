#include "redis/hiredis_guard.hpp"

#include <string>

extern "C" {

// Debian's archive has the tables to unwind through.
[[noreturn]] void gf_hiredis_assert_fail(const char* condition, const char*, unsigned, const char*) {
  throw gf::redis::ReaderGaveUp(std::string("hiredis found untrue: ") + condition);
}
[[noreturn]] void gf_hiredis_abort(void) { throw gf::redis::ReaderGaveUp("hiredis gave up"); }

}  // extern "C"
