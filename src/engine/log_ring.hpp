// The log of one engine: a bounded ring that any thread writes to without waiting, read by polling or by a callback's
// thread.
#pragma once

#include "base/clock.hpp"
#include "base/log.hpp"
#include "engine/engine.hpp"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

namespace gf::engine {

/// A bounded queue of many writers after Dmitry Vyukov ("Bounded MPMC queue", 1024cores.net): a writer takes a turn by
/// one compare-and-swap and never waits, so that an executor can write under any lock. A line that finds the ring full
/// is lost, and the next one that finds room tells how many were.
///
/// Threads: any.
class LogRing final : public LogSink {
 public:
  static constexpr std::size_t capacity = 1024;  ///< A power of two.
  static constexpr std::size_t longest_message = 16384;

  /// clock: must outlive the ring. Throws bad_alloc.
  LogRing(LogLevel level, const Clock& clock);

  bool enabled(LogLevel level) const noexcept override { return level != LogLevel::off && level <= level_; }
  void write(LogLevel level, std::string_view module, std::string_view message) noexcept override;

  /// Shows the next line to `take`, which answers whether it was taken; else it stays. False: there is none.
  bool poll(const std::function<bool(const LogLine&)>& take);

  /// Waits until something was written, or wake() was called, since `seen` was read from signal().
  void wait(std::uint32_t seen) const noexcept { signal_.wait(seen, std::memory_order_acquire); }
  std::uint32_t signal() const noexcept { return signal_.load(std::memory_order_acquire); }
  void wake() noexcept;

 private:
  struct Cell {
    std::atomic<std::uint64_t> turn{0};
    LogLine line;  // The turn's owner's.
  };

  std::optional<LogLine> next();

  const LogLevel level_;
  const Clock& clock_;
  std::unique_ptr<Cell[]> cells_;  // None where nothing is let through.
  std::atomic<std::uint64_t> tail_{0};
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<std::uint32_t> signal_{0};
  std::mutex readers_;           // Taken by readers alone.
  std::uint64_t head_ = 0;       // Guarded by readers_.
  std::optional<LogLine> held_;  // A line that was shown and not taken. Guarded by readers_.
};

}  // namespace gf::engine
