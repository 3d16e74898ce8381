// What the processes of a test count together, in a file that all map.
#pragma once

#include <atomic>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace gf::test {

struct ProbeCounts {
  std::atomic<int> in_flight;
  std::atomic<int> most;
};

/// Makes the file where there is none. It stays mapped for as long as the process lives.
inline ProbeCounts* map_counts(const char* path) {
  const int descriptor = ::open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) return nullptr;
  void* mapped = MAP_FAILED;
  if (::ftruncate(descriptor, sizeof(ProbeCounts)) == 0) {
    mapped = ::mmap(nullptr, sizeof(ProbeCounts), PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  }
  ::close(descriptor);
  return mapped == MAP_FAILED ? nullptr : static_cast<ProbeCounts*>(mapped);
}

}  // namespace gf::test
