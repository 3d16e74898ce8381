#include "base/clock.hpp"

#include <chrono>

namespace gf {
namespace {

class SystemClock final : public Clock {
 public:
  std::int64_t now_us() const noexcept override { return in_us(std::chrono::steady_clock::now()); }
  std::int64_t unix_us() const noexcept override { return in_us(std::chrono::system_clock::now()); }

 private:
  template <class TimePoint>
  static std::int64_t in_us(TimePoint now) {
    return std::chrono::duration_cast<std::chrono::microseconds>(now.time_since_epoch()).count();
  }
};

}  // namespace

const Clock& system_clock() noexcept {
  // Never destroyed: threads look at it while the process ends.
  union Kept {
    SystemClock clock;
    Kept() : clock() {}
    ~Kept() {}
  };
  static const Kept kept;
  return kept.clock;
}

}  // namespace gf
