// A switch that makes one allocation of the calling thread fail: the k-th from when it is set.
#pragma once

namespace gf::test {

/// While it lives, allocation number `fail_at` of this thread (from 1) by operator new throws bad_alloc, and only that.
class FailingAllocation {
 public:
  explicit FailingAllocation(long fail_at) noexcept;
  ~FailingAllocation();
  FailingAllocation(const FailingAllocation&) = delete;
  FailingAllocation& operator=(const FailingAllocation&) = delete;
  /// Whether it came to that.
  bool failed() const noexcept;
};

}  // namespace gf::test
