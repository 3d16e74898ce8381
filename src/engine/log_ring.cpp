#include "engine/log_ring.hpp"

#include "base/utf8.hpp"
#include "error/log_record.hpp"

#include <algorithm>
#include <utility>

namespace gf::engine {

LogRing::LogRing(LogLevel level, const Clock& clock) : level_(level), clock_(clock) {
  static_assert((capacity & (capacity - 1)) == 0);
  if (level == LogLevel::off) return;
  cells_ = std::make_unique<Cell[]>(capacity);
  for (std::size_t at = 0; at < capacity; ++at) cells_[at].turn.store(at, std::memory_order_relaxed);
}

void LogRing::wake() noexcept {
  signal_.fetch_add(1, std::memory_order_release);
  signal_.notify_all();
}

void LogRing::write(LogLevel level, std::string_view module, std::string_view message) noexcept {
  if (!enabled(level)) return;
  LogLine line;
  try {
    line.level = level;
    line.unix_us = clock_.unix_us();
    line.module = module;
    line.message =
        first_invalid_utf8(message) || message.size() > longest_message ? shown(message) : std::string(message);
    error::mask_secrets(line.message);  // Whoever reads logs must not read the password of a URL.
  } catch (...) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  auto turn = tail_.load(std::memory_order_relaxed);
  for (;;) {
    auto& cell = cells_[turn & (capacity - 1)];
    const auto ready = cell.turn.load(std::memory_order_acquire);
    if (ready == turn) {
      if (!tail_.compare_exchange_weak(turn, turn + 1, std::memory_order_relaxed)) continue;
      line.dropped = dropped_.exchange(0, std::memory_order_relaxed);
      cell.line = std::move(line);
      cell.turn.store(turn + 1, std::memory_order_release);
      wake();
      return;
    }
    if (ready < turn) {  // The cell's line of one round before was not read yet.
      dropped_.fetch_add(1, std::memory_order_relaxed);
      return;
    }
    turn = tail_.load(std::memory_order_relaxed);
  }
}

std::optional<LogLine> LogRing::next() {
  if (!cells_) return std::nullopt;
  auto& cell = cells_[head_ & (capacity - 1)];
  if (cell.turn.load(std::memory_order_acquire) != head_ + 1) return std::nullopt;
  auto line = std::move(cell.line);
  cell.turn.store(head_ + capacity, std::memory_order_release);
  ++head_;
  return line;
}

bool LogRing::poll(const std::function<bool(const LogLine&)>& take) {
  const std::lock_guard lock(readers_);
  if (!held_) held_ = next();
  if (!held_) return false;
  if (take(*held_)) held_.reset();
  return true;
}

}  // namespace gf::engine
