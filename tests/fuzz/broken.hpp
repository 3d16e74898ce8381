// What a fuzzer says of a rule that an input broke, before it ends the process.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace gf::fuzz {

[[noreturn]] inline void broken(const char* what, std::string_view input) {
  (void)std::fprintf(stderr, "%s\n--- input, %zu bytes\n%.*s\n---\n", what, input.size(),
                     static_cast<int>(input.size()), input.data());
  std::abort();
}

}  // namespace gf::fuzz
