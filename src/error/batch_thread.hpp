// What callers hand over and one thread carries on, many at a time: bounded, off the callers' path, losses counted.
#pragma once

#include "base/backoff.hpp"
#include "base/clock.hpp"
#include "base/ids.hpp"
#include "base/platform.hpp"
#include "base/platform_wait.hpp"
#include "base/result.hpp"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace gf::error {

struct BatchOptions {
  const char* thread_name = "gf-batch";  ///< Static; at most 15 bytes.
  std::size_t most_items = 4096;         ///< That wait; further ones are lost, and counted.
  std::size_t most_bytes = 1u << 20;
  std::size_t batch_items = 256;
  std::int64_t linger_us = 50'000;  ///< How long the first of a batch waits for others.
};

struct BatchStatistics {
  std::uint64_t taken = 0;
  std::uint64_t sent = 0;
  std::uint64_t lost = 0;      ///< For want of room or memory.
  std::uint64_t failures = 0;  ///< Batches that were not taken by who they were for; they are sent again.
  std::uint64_t wake_ups = 0;
};

/// While nothing is put the thread sleeps without a timeout. A batch that fails is sent again as it is, with a backoff,
/// until it arrives or the end comes.
/// Threads: any, for every function.
template <class Item>
class BatchThread {
 public:
  /// `lost`: how many were lost since the last batch that arrived. One thread calls it; what it throws is bad_alloc.
  using Send = std::function<Result<void>(std::vector<Item>& batch, std::uint64_t lost)>;

  /// interrupt: ends a `send` that waits; called by close(), from any thread.
  static Result<std::unique_ptr<BatchThread>> start(const BatchOptions& options, Send send,
                                                    const std::function<void()>& interrupt) {
    auto core = std::make_shared<Core>();
    core->options = options;
    core->send = std::move(send);
    core->interrupt = interrupt;
    std::unique_ptr<BatchThread> out(new BatchThread(core));
    try {
      core->thread = start_thread(options.thread_name, [core] { core->run(); });
    } catch (const std::system_error& e) {
      core->stopping = true;
      return Error{Status::io_error, std::string("the thread could not be started: ") + e.what(), {}};
    }
    return out;
  }
  ~BatchThread() { close(0); }
  BatchThread(const BatchThread&) = delete;
  BatchThread& operator=(const BatchThread&) = delete;

  /// False: it is lost.
  bool put(Item&& item, std::size_t bytes) noexcept {
    auto& core = *core_;
    bool wake = false;
    {
      const std::lock_guard lock(core.mutex);
      if (core.stopping.load() || core.waiting.size() >= core.options.most_items ||
          core.bytes + bytes > core.options.most_bytes) {
        ++core.lost;
        ++core.lost_since;
        return false;
      }
      try {
        core.waiting.push_back({std::move(item), bytes});
      } catch (const std::bad_alloc&) {
        ++core.lost;
        ++core.lost_since;
        return false;
      }
      core.bytes += bytes;
      ++core.taken;
      wake = core.waiting.size() == 1 || core.waiting.size() == core.options.batch_items;
    }
    if (wake) core.wake();
    return true;
  }
  /// Of what the caller could not even make.
  void note_lost() noexcept {
    const std::lock_guard lock(core_->mutex);
    ++core_->lost;
    ++core_->lost_since;
  }

  /// Returns when everything that was put before has arrived. Errors: timed_out, with what the last try failed with;
  /// wrong_state after close(); an error that trying again does not help with, at once.
  Result<void> flush(std::int64_t timeout_us) {
    auto& core = *core_;
    const auto until_us = system_clock().now_us() + std::max<std::int64_t>(timeout_us, 0);
    std::uint64_t mark = 0;
    {
      const std::lock_guard lock(core.mutex);
      mark = core.taken;
      if (core.sent >= mark && core.lost_since == 0) return success();
    }
    core.urgent = true;
    core.wake();
    for (;;) {
      const auto seen = core.done.load();
      {
        const std::lock_guard lock(core.mutex);
        if (core.sent >= mark && core.lost_since == 0) return success();
        if (core.trouble) {
          const auto* entry = find_status(static_cast<std::int32_t>(core.trouble->status));
          if (entry != nullptr && !entry->retryable) return *core.trouble;
        }
      }
      if (core.stopping.load()) return Error{Status::wrong_state, "it is closed", {}};
      const auto left_us = until_us - system_clock().now_us();
      if (left_us <= 0) {
        const std::lock_guard lock(core.mutex);
        return core.trouble ? wrap(*core.trouble, Status::timed_out, "not arrived in time: " + core.trouble->message)
                            : Error{Status::timed_out, "what was handed over has not arrived in time", {}};
      }
      wait_on(core.done, seen, left_us);
    }
  }

  /// Takes nothing more, sends the rest, waits at most so long (plus the moment that the thread takes to end), and ends
  /// the thread. What is left is lost, and counted.
  void close(std::int64_t timeout_us) {
    auto& core = *core_;
    if (core.stopping.exchange(true)) return;
    if (!core.thread.joinable()) return;
    if (process_number() != core.own_pid) {  // A fork's child has no such thread.
      core.thread.detach();
      return;
    }
    core.until_us = system_clock().now_us() + std::max<std::int64_t>(timeout_us, 0);
    core.wake();
    const auto wait_until = [&](std::int64_t until_us) {
      for (;;) {
        const auto seen = core.done.load();
        if (core.ended.load()) return true;
        const auto left_us = until_us - system_clock().now_us();
        if (left_us <= 0) return false;
        wait_on(core.done, seen, left_us);
      }
    };
    if (!wait_until(core.until_us)) core.interrupt();
    // The interrupt ends every wait of ours; only the system's resolver may still hold the thread.
    if (wait_until(system_clock().now_us() + 100'000)) {
      core.thread.join();
    } else {
      core.thread.detach();
    }
  }

  BatchStatistics statistics() const {
    const std::lock_guard lock(core_->mutex);
    return {core_->taken, core_->sent, core_->lost, core_->failures.load(), core_->wake_ups.load()};
  }

 private:
  struct Waiting {
    Item item;
    std::size_t bytes;
  };
  struct Core {
    void wake() noexcept {
      word.fetch_add(1, std::memory_order_acq_rel);
      wake_all(word);
    }
    void tell() noexcept {
      done.fetch_add(1, std::memory_order_acq_rel);
      wake_all(done);
    }
    /// Sleeps until it is woken in earnest or the time is over.
    void rest(std::int64_t us, bool until_urgent) noexcept {
      const auto end_us = system_clock().now_us() + us;
      for (;;) {
        const auto seen = word.load(std::memory_order_acquire);
        if (stopping.load() || (until_urgent && urgent.load())) return;
        {
          const std::lock_guard lock(mutex);
          if (until_urgent && waiting.size() >= options.batch_items) return;
        }
        const auto left_us = end_us - system_clock().now_us();
        if (left_us <= 0) return;
        wait_on(word, seen, left_us);
        ++wake_ups;
      }
    }
    void run() noexcept {
      std::vector<Item> batch;
      std::size_t batch_bytes = 0;
      std::uint64_t batch_lost = 0;
      bool under_way = false;  // A batch that was tried goes again as it is.
      std::uint32_t failed = 0;
      for (;;) {
        const auto seen = word.load(std::memory_order_acquire);
        if (!under_way) {
          bool idle = false;
          {
            const std::lock_guard lock(mutex);
            idle = waiting.empty() && lost_since == 0;
            if (idle) urgent = false;
          }
          if (idle) {
            if (stopping.load()) break;
            wait_on(word, seen, -1);
            ++wake_ups;
            continue;
          }
          rest(options.linger_us, true);
          try {
            const std::lock_guard lock(mutex);
            batch.reserve(options.batch_items);
            while (batch.size() < options.batch_items && !waiting.empty()) {
              batch_bytes += waiting.front().bytes;
              batch.push_back(std::move(waiting.front().item));
              waiting.pop_front();
            }
            batch_lost = lost_since;
            under_way = true;
          } catch (const std::bad_alloc&) {
            rest(50'000, false);
            if (!stopping.load()) continue;
          }
        }
        auto answer = [&]() -> Result<void> {
          try {
            return send(batch, batch_lost);
          } catch (const std::bad_alloc&) {
            return Error{Status::out_of_host_memory, {}, {}};
          }
        }();
        if (answer) {
          const std::lock_guard lock(mutex);
          sent += batch.size();
          bytes -= batch_bytes;
          lost_since -= batch_lost;
          trouble.reset();
          batch.clear();
          batch_bytes = 0;
          under_way = false;
          failed = 0;
          tell();
          continue;
        }
        ++failures;
        {
          const std::lock_guard lock(mutex);
          trouble = std::move(answer).error();
          if (stopping.load() && system_clock().now_us() >= until_us.load()) {
            lost += batch.size() + waiting.size();
            waiting.clear();
            break;
          }
        }
        tell();
        const auto bound = backoff_bound_us(50'000, 5'000'000, ++failed);
        const auto pause_us =
            bound / 2 + static_cast<std::int64_t>(random_bits() % static_cast<std::uint64_t>(bound / 2));
        if (stopping.load()) {
          // The time that is left belongs to it.
          const auto left_us = std::max<std::int64_t>(until_us.load() - system_clock().now_us(), 1);
          wait_on(word, word.load(), std::min<std::int64_t>(20'000, left_us));
        } else {
          rest(pause_us, false);
        }
      }
      ended = true;
      tell();
    }

    BatchOptions options;
    Send send;
    std::function<void()> interrupt;
    const std::int64_t own_pid = process_number();
    std::atomic<std::uint32_t> word{0};
    std::atomic<std::uint32_t> done{0};
    std::atomic<bool> stopping{false};
    std::atomic<bool> ended{false};
    std::atomic<bool> urgent{false};
    std::atomic<std::int64_t> until_us{std::numeric_limits<std::int64_t>::max()};  // close() sets it.
    std::atomic<std::uint64_t> failures{0};
    std::atomic<std::uint64_t> wake_ups{0};
    std::mutex mutex;
    std::deque<Waiting> waiting;  // Guarded by mutex, as the next.
    std::size_t bytes = 0;        // Of what waits and what is on its way.
    std::uint64_t taken = 0;
    std::uint64_t sent = 0;
    std::uint64_t lost = 0;
    std::uint64_t lost_since = 0;
    std::optional<Error> trouble;  // Of the last try, if it failed.
    std::thread thread;
  };

  explicit BatchThread(std::shared_ptr<Core> core) : core_(std::move(core)) {}
  std::shared_ptr<Core> core_;  // Shared with the thread, which may outlive close().
};

}  // namespace gf::error
