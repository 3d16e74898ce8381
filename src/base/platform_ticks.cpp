#include "base/platform_ticks.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace gf {

bool has_steady_ticks() noexcept {
#if defined(__x86_64__)
  // AMD64 Architecture Programmer's Manual, volume 3, appendix E.4.6: Fn8000_0007, EDX bit 8, TscInvariant; Intel's
  // manual, volume 3B, section 18.17.1, has the same.
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  return __get_cpuid(0x80000007, &eax, &ebx, &ecx, &edx) != 0 && (edx >> 8 & 1) != 0;
#else
  return false;
#endif
}

}  // namespace gf
