// Hashes on two threads with one object that its owner should guard: a data race inside gf::Sha256, which
// ThreadSanitizer must report. Registered in the preset tsan only, where that report is the test's success.
#include "base/platform.hpp"
#include "base/sha256.hpp"

#include <cstdio>
#include <string>
#include <thread>

int main() {
  gf::Sha256 shared;
  const std::string text(1000, 'x');
  const auto body = [&] {
    for (int i = 0; i < 100; ++i) shared.add(text);
  };
  auto first = gf::start_thread("first", body);
  auto second = gf::start_thread("second", body);
  first.join();
  second.join();
  std::puts("both threads are done");
}
