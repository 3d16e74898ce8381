#include "allocation.hpp"

#include <cstdlib>
#include <new>

// The program's operator new serves its shared libraries too, so that the library's own allocations fail here.

namespace {

thread_local long countdown = 0;  // 0: off.
thread_local bool has_failed = false;

void* allocate(std::size_t bytes) {
  if (countdown > 0 && --countdown == 0) {
    has_failed = true;
    throw std::bad_alloc();
  }
  void* place = std::malloc(bytes == 0 ? 1 : bytes);
  if (place == nullptr) throw std::bad_alloc();
  return place;
}

}  // namespace

namespace gf::test {

FailingAllocation::FailingAllocation(long fail_at) noexcept {
  has_failed = false;
  countdown = fail_at;
}

FailingAllocation::~FailingAllocation() { countdown = 0; }

bool FailingAllocation::failed() const noexcept { return has_failed; }

}  // namespace gf::test

void* operator new(std::size_t bytes) { return allocate(bytes); }
void* operator new[](std::size_t bytes) { return allocate(bytes); }
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return allocate(bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void* operator new[](std::size_t bytes, const std::nothrow_t& tag) noexcept { return operator new(bytes, tag); }
void operator delete(void* place) noexcept { std::free(place); }
void operator delete[](void* place) noexcept { std::free(place); }
void operator delete(void* place, std::size_t) noexcept { std::free(place); }
void operator delete[](void* place, std::size_t) noexcept { std::free(place); }
