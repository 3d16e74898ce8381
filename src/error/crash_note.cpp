#include "error/crash_note.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <unistd.h>

namespace gf::error {
namespace {

static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "a lock could be held by the thread that crashed");

/// Text in a buffer on the stack, written out when it is full. Nothing here allocates or looks at the locale.
class RawText {
 public:
  explicit RawText(int descriptor) : descriptor_(descriptor) {}

  void add(const char* text, std::size_t size) noexcept {
    for (std::size_t at = 0; at < size; ++at) {
      if (used_ == sizeof buffer_) flush();
      buffer_[used_++] = text[at];
    }
  }
  void add(std::string_view text) noexcept { add(text.data(), text.size()); }
  void number(std::uint64_t value) noexcept {
    char digits[20];
    std::size_t at = sizeof digits;
    do {
      digits[--at] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
    add(digits + at, sizeof digits - at);
  }
  void hex(std::uint64_t value) noexcept {
    for (int shift = 60; shift >= 0; shift -= 4) {
      const char digit = "0123456789abcdef"[value >> shift & 15];
      add(&digit, 1);
    }
  }
  void flush() noexcept {
    std::size_t done = 0;
    while (good_ && done < used_) {
      const auto wrote = ::write(descriptor_, buffer_ + done, used_ - done);
      if (wrote > 0) {
        done += static_cast<std::size_t>(wrote);
      } else if (wrote == 0 || errno != EINTR) {
        good_ = false;
      }
    }
    used_ = 0;
  }
  bool good() const { return good_; }

 private:
  const int descriptor_;
  bool good_ = true;
  std::size_t used_ = 0;
  char buffer_[512];
};

}  // namespace

CrashNote& process_crash_note() noexcept {
  static constinit CrashNote note;
  return note;
}

void CrashNote::keep(std::string_view line) noexcept {
  const auto turn = next_.fetch_add(1, std::memory_order_acq_rel);
  auto& place = lines_[turn % lines];
  // A read-modify-write, so that the words cannot be written before it. (ThreadSanitizer knows no fences.)
  auto before = place.turn.load(std::memory_order_relaxed);
  if (before % 2 != 0 || before > 2 * turn ||
      !place.turn.compare_exchange_strong(before, 2 * turn + 1, std::memory_order_acq_rel)) {
    return;
  }
  const auto size = std::min(line.size(), line_bytes);
  for (std::size_t at = 0; at < size; at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, line.data() + at, std::min<std::size_t>(8, size - at));
    place.words[at / 8].store(word, std::memory_order_relaxed);
  }
  place.size.store(size, std::memory_order_relaxed);
  place.turn.store(2 * turn + 2, std::memory_order_release);
}

void CrashNote::job_begun(const JobId& job) noexcept {
  for (auto& place : jobs_) {
    std::uint32_t free = 0;
    if (!place.used.compare_exchange_strong(free, 1, std::memory_order_acquire, std::memory_order_relaxed)) continue;
    place.high.store(job.high, std::memory_order_relaxed);
    place.low.store(job.low, std::memory_order_relaxed);
    place.used.store(2, std::memory_order_release);
    return;
  }
}

void CrashNote::job_ended(const JobId& job) noexcept {
  for (auto& place : jobs_) {
    if (place.used.load(std::memory_order_acquire) != 2) continue;
    if (place.high.load(std::memory_order_relaxed) != job.high ||
        place.low.load(std::memory_order_relaxed) != job.low) {
      continue;
    }
    place.used.store(0, std::memory_order_release);
    return;
  }
}

bool CrashNote::write(int descriptor) const noexcept {
  const int saved = errno;
  RawText out(descriptor);
  out.add("GameForge crash note\nmemory: ");
  out.number(held_bytes_.load(std::memory_order_relaxed));
  out.add(" bytes held, limit ");
  out.number(limit_bytes_.load(std::memory_order_relaxed));
  out.add("\nrunning jobs:\n");
  for (const auto& place : jobs_) {
    if (place.used.load(std::memory_order_acquire) != 2) continue;
    out.add("  ");
    out.hex(place.high.load(std::memory_order_relaxed));
    out.hex(place.low.load(std::memory_order_relaxed));
    out.add("\n");
  }
  out.add("last lines, oldest first:\n");
  const auto end = next_.load(std::memory_order_acquire);
  for (auto turn = end > lines ? end - lines : 0; turn < end; ++turn) {
    const auto& place = lines_[turn % lines];
    if (place.turn.load(std::memory_order_acquire) != 2 * turn + 2) continue;
    char bytes[line_bytes];
    const auto size = std::min<std::uint64_t>(place.size.load(std::memory_order_relaxed), line_bytes);
    for (std::size_t at = 0; at < size; at += 8) {
      const auto word = place.words[at / 8].load(std::memory_order_acquire);  // Before the second look at the turn.
      std::memcpy(bytes + at, &word, std::min<std::size_t>(8, size - at));
    }
    // Overwritten meanwhile: a newer line stands there, at the end of the note.
    if (place.turn.load(std::memory_order_relaxed) != 2 * turn + 2) continue;
    out.add("  ");
    out.add(bytes, size);
    if (size == 0 || bytes[size - 1] != '\n') out.add("\n");
  }
  out.add("end of note\n");
  out.flush();
  errno = saved;
  return out.good();
}

}  // namespace gf::error
