// Waiting for states that no call waits for.
#pragma once

#include <chrono>
#include <thread>

namespace gf::test {

/// Whether the condition comes to hold, asked every millisecond, some 30,000 times.
template <class Condition>
bool soon(Condition&& condition) {
  for (int tries = 0; tries < 30'000; ++tries) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

}  // namespace gf::test
