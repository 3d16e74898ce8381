// The monitor: watches each device's memory while jobs run, lowers the ledger's limit to what the outside leaves,
// raises pressure events, and has idle bytes given back.
#pragma once

#include "base/clock.hpp"
#include "base/result.hpp"
#include "cache/ledger.hpp"
#include "cache/memory_source.hpp"
#include "cache/pressure.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace gf::cache {

/// What a device's memory is used for, bytes, in one look.
struct MemoryReading {
  std::int64_t at_us = 0;  ///< By the monitor's clock; 0: never looked.
  std::uint64_t total = 0;
  std::uint64_t free = 0;
  std::uint64_t own_live = 0;  ///< The ledger's: held and promised,
  std::uint64_t own_held = 0;  ///< and of these what is held.
  std::uint64_t own_peak = 0;
  std::uint64_t own_cached = 0;       ///< Kept free by the backend's allocator.
  std::uint64_t own_overhead = 0;     ///< What the process holds besides: the context of a card, most of all.
  std::uint64_t other_processes = 0;  ///< Where the source does not tell our part, the overhead is in here.
  std::uint64_t limit = no_limit;     ///< Of own_live.
  double fragmentation = 0;           ///< 1 less the largest free block's share of own_cached.
  double share = 0;                   ///< Of what may be used: what the level is made of.
  PressureLevel level = PressureLevel::none;
};

struct PressureEvent {
  std::uint32_t device = 0;
  PressureLevel level = PressureLevel::none;
  PressureLevel before = PressureLevel::none;
  MemoryReading reading;
  std::uint64_t reclaimed = 0;  ///< Bytes that were given back at once because of it.
};

/// A device of the ledger and who tells about it.
struct MonitoredDevice {
  std::uint32_t device = 0;  ///< The ledger's number.
  std::shared_ptr<const MemorySource> source;
  std::uint32_t index = 0;           ///< The source's number.
  double fraction = 1;               ///< Of the device's total that is ours at most: above 0 to 1.
  std::uint64_t headroom_bytes = 0;  ///< Left free, whoever asks.
  /// The backend's allocator; empty where it keeps nothing.
  std::function<std::optional<AllocatorStatistics>()> allocator = {};
};

struct MonitorOptions {
  std::vector<MonitoredDevice> devices;
  PressureRules rules = {};
  /// Called on the monitor's thread, under no lock. What it throws is swallowed.
  std::function<void(const PressureEvent&)> on_pressure = {};
  const Clock* clock = nullptr;  ///< nullptr: system_clock(). Must outlive the monitor.
};

/// Counts since it was made.
struct MonitorStatistics {
  std::uint64_t wake_ups = 0;
  std::uint64_t samples = 0;  ///< Looks at one device.
  std::uint64_t failed_samples = 0;
  std::uint64_t events = 0;
  std::uint64_t reclaimed_bytes = 0;
  std::int64_t cpu_us = 0;           ///< Processor time of its thread.
  std::int64_t over_limit_us = 0;    ///< Time in which some device held more than its limit, in all,
  std::int64_t longest_over_us = 0;  ///< and at a stretch.
};

/// Asleep while no job runs: no timer, no call of the system. The ledger wakes it when a limit falls below what is
/// held. While jobs run it looks every 10 ms from 80 % of what may be used on, else every 50 ms.
///
/// Threads: any, for every function; one thread of its own, at normal priority.
class GPUMemoryMonitor {
 public:
  /// Errors: invalid_argument (a device twice, without a source, fraction or index out of range); io_error when the
  /// thread could not be started.
  static Result<std::unique_ptr<GPUMemoryMonitor>> create(std::shared_ptr<Ledger> ledger, MonitorOptions options);
  /// Ends its thread, after the event that it may be telling.
  ~GPUMemoryMonitor();
  GPUMemoryMonitor(const GPUMemoryMonitor&) = delete;
  GPUMemoryMonitor& operator=(const GPUMemoryMonitor&) = delete;

  /// A job began or ended; looks are taken while any runs. With the first job each device's limit is brought up to date
  /// before this returns, on the calling thread: the job must not meet the limit of the last one's time.
  void job_began() noexcept;
  void job_ended() noexcept;

  /// Has idle bytes given back on the monitor's thread, so that the caller waits for no executor; answers how many they
  /// are, or nothing when the time is over first (what is given later is given all the same). timeout_us: at least 0.
  std::optional<std::uint64_t> request(std::uint32_t device, std::uint64_t bytes, std::int64_t timeout_us);

  /// The newest reading; nothing for a device that is not watched.
  std::optional<MemoryReading> reading(std::uint32_t device) const;
  /// Looks now, on the calling thread. The level stays what the last look of the thread made it.
  /// Errors: not_found (not watched); the source's.
  Result<MemoryReading> look(std::uint32_t device) const;
  std::vector<std::uint32_t> devices() const;

  MonitorStatistics statistics() const;

 private:
  struct Watched {
    MonitoredDevice is;
    PressureGauge gauge;      // The thread's own.
    std::int64_t due_us = 0;  // The thread's own.
    MemoryReading reading;    // Guarded by mutex_.
  };

  GPUMemoryMonitor(std::shared_ptr<Ledger> ledger, MonitorOptions options);
  /// Somebody waits for bytes; shared by the two until both have let go.
  struct Request {
    std::uint32_t device = 0;
    std::uint64_t bytes = 0;
    std::optional<std::uint64_t> given{};
  };

  void run();
  void serve();
  void sample(Watched& watched, std::int64_t now_us);
  void relieve(std::int64_t now_us);
  std::uint64_t give_back(std::uint32_t device, std::uint64_t bytes);
  Result<MemoryReading> read(const MonitoredDevice& device) const;
  void set_limits(const MonitoredDevice& device, MemoryReading& reading);

  const std::shared_ptr<Ledger> ledger_;  // Shared with the engine.
  const MonitorOptions options_;
  const Clock& clock_;
  std::vector<std::unique_ptr<Watched>> watched_;
  std::atomic<std::uint32_t> jobs_{0};
  std::atomic<bool> stop_{false};
  std::optional<std::int64_t> over_since_us_;  // The thread's own.
  mutable std::mutex mutex_;
  std::condition_variable served_;
  std::list<std::shared_ptr<Request>> requests_;  // Guarded by mutex_, as the next.
  MonitorStatistics statistics_;
  std::thread thread_;
};

}  // namespace gf::cache
