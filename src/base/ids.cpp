#include "base/ids.hpp"

#include "base/mix.hpp"
#include "base/utf8.hpp"

#include <fmt/format.h>

#include <atomic>
#include <chrono>

#include <sys/random.h>

namespace gf {

JobId JobIdMaker::make(std::int64_t unix_us, std::uint64_t random) {
  const auto us = static_cast<std::uint64_t>(unix_us < 0 ? 0 : unix_us);
  // Milliseconds above, and the microseconds within one as a 12-bit fraction: together 60 bits that only rise.
  std::uint64_t time = ((us / 1000) << 12) | ((us % 1000) * 4096 / 1000);
  std::atomic_ref<std::uint64_t> last(last_);
  auto seen = last.load(std::memory_order_relaxed);
  std::uint64_t mine;
  do {
    mine = time > seen ? time : seen + 1;
  } while (!last.compare_exchange_weak(seen, mine, std::memory_order_relaxed));
  JobId id;
  id.high = ((mine >> 12) << 16) | 0x7000 | (mine & 0xFFF);
  id.low = (std::uint64_t{2} << 62) | (random & 0x3FFF'FFFF'FFFF'FFFF);
  return id;
}

std::uint64_t random_bits() noexcept {
  std::uint64_t bits = 0;
  if (getrandom(&bits, sizeof bits, GRND_NONBLOCK) == sizeof bits) return bits;
  static std::atomic<std::uint64_t> counter{0};
  const auto now = static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
  // What little there is, spread.
  return split_mix(now ^ reinterpret_cast<std::uintptr_t>(&bits) ^ (counter.fetch_add(1) * split_mix_step));
}

std::string to_text(const JobId& id) { return fmt::format("{:016x}{:016x}", id.high, id.low); }

Result<JobId> parse_job_id(std::string_view text) {
  JobId id;
  int digits = 0;
  for (const char c : text) {
    if (c == '-') continue;
    unsigned value = 0;
    if (c >= '0' && c <= '9') {
      value = static_cast<unsigned>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      value = static_cast<unsigned>(c - 'a' + 10);
    } else if (c >= 'A' && c <= 'F') {
      value = static_cast<unsigned>(c - 'A' + 10);
    } else {
      digits = 33;
    }
    if (++digits > 32) break;
    id.high = (id.high << 4) | (id.low >> 60);
    id.low = (id.low << 4) | value;
  }
  if (digits != 32) {
    return Error{Status::invalid_argument, fmt::format("{} is no job id: it takes 32 hex digits", shown(text)), {}};
  }
  return id;
}

}  // namespace gf
