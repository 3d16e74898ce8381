// What was going on, written by a host's own crash handler: for when nothing else can be called any more.
#pragma once

#include "base/ids.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <string_view>

namespace gf::error {

/// The last lines of the log, the running jobs and the memory held, in fixed memory. We install no signal handler: the
/// host calls write() from its own.
///
/// Threads: any. A line whose place another thread is still writing to, 64 lines before, is not kept. write() is
/// async-signal-safe (POSIX.1-2017, section 2.4.3): it reads atomics and calls nothing but write(2), keeps errno, and
/// ends whatever the other threads were doing when they stopped.
class CrashNote {
 public:
  static constexpr std::size_t lines = 64;
  static constexpr std::size_t line_bytes = 240;
  static constexpr std::size_t jobs = 32;

  /// Keeps a line's first 240 bytes.
  void keep(std::string_view line) noexcept;
  /// At most `jobs` are remembered at a time.
  void job_begun(const JobId& job) noexcept;
  void job_ended(const JobId& job) noexcept;
  void set_memory(std::uint64_t held_bytes, std::uint64_t limit_bytes) noexcept {
    held_bytes_.store(held_bytes, std::memory_order_relaxed);
    limit_bytes_.store(limit_bytes, std::memory_order_relaxed);
  }

  /// Writes the note to `descriptor`. False where the descriptor did not take all of it.
  bool write(int descriptor) const noexcept;

 private:
  struct Line {
    // Odd while it is being written, as in a sequence lock; the bytes are words so that a reader meets no torn race.
    std::atomic<std::uint64_t> turn{0};
    std::atomic<std::uint64_t> size{0};
    std::array<std::atomic<std::uint64_t>, line_bytes / 8> words{};
  };
  struct Job {
    std::atomic<std::uint32_t> used{0};  // 0 free, 1 being written, 2 there.
    std::atomic<std::uint64_t> high{0};
    std::atomic<std::uint64_t> low{0};
  };

  std::array<Line, lines> lines_;
  std::atomic<std::uint64_t> next_{0};
  std::array<Job, jobs> jobs_;
  std::atomic<std::uint64_t> held_bytes_{0};
  std::atomic<std::uint64_t> limit_bytes_{0};
};

/// The note that engines and loggers share whose host wants one. It is there from the start of the process to its end,
/// since a handler that reads it cannot know who is being closed.
CrashNote& process_crash_note() noexcept;

}  // namespace gf::error
