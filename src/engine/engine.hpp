// engine: ties the rooms together, from intake over queue and executors to results; what a job computes is the
// pipeline's. This header: everything that the C ABI offers of an engine, in C++ types.
#pragma once

#include "base/clock.hpp"
#include "base/ids.hpp"
#include "base/log.hpp"
#include "base/result.hpp"
#include "cache/ledger.hpp"
#include "cache/memory_monitor.hpp"
#include "error/crash_note.hpp"
#include "error/handler.hpp"
#include "pipeline/image.hpp"
#include "pipeline/request.hpp"
#include "queue/lanes.hpp"
#include "queue/rate_limiter.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace gf::engine {

/// Values of gf_event_type.
enum class EventType : std::uint32_t {
  accepted = 1,
  rejected = 2,
  started = 3,
  progress = 4,
  image = 5,
  done = 6,
  failed = 7,
  cancelled = 8,
  memory_pressure = 9  ///< Of no job: step is the level, total the one before, image the device.
};

/// Values of gf_stage.
enum class Stage : std::uint32_t { queued = 0, loading = 1, encoding = 2, sampling = 3, decoding = 4, storing = 5 };

/// Values of gf_job_state; from `done` on a job is over.
enum class JobState : std::uint32_t {
  submitted = 0,
  queued = 1,
  running = 2,
  done = 3,
  failed = 4,
  cancelled = 5,
  rejected = 6
};

/// Values of gf_cancel_mode.
enum class CancelMode : std::uint32_t { now = 0, after_image = 1 };

/// Fields of gf_event.
struct Event {
  EventType type = EventType::accepted;
  JobId job;
  std::uint64_t host_tag = 0;
  Stage stage = Stage::queued;
  std::uint32_t step = 0;
  std::uint32_t total = 0;
  std::uint32_t image = 0;
  Status status = Status::ok;
  std::int64_t retry_after_us = 0;
  std::int64_t at_us = 0;  ///< Since the engine was opened.
};

/// Fields of gf_job_info.
struct JobInfo {
  JobState state = JobState::submitted;
  Status status = Status::ok;
  Stage stage = Stage::queued;
  std::uint32_t step = 0;
  std::uint32_t total = 0;
  std::uint32_t images_ready = 0;
  std::uint32_t image_count = 0;
  std::uint32_t width_px = 0;
  std::uint32_t height_px = 0;
  std::uint64_t seed = 0;
  std::uint64_t host_tag = 0;
  std::int64_t queue_us = 0;
  std::int64_t load_us = 0;
  std::int64_t encode_us = 0;
  std::int64_t sample_us = 0;
  std::int64_t decode_us = 0;
  std::int64_t total_us = 0;
};

constexpr bool is_over(JobState state) { return state >= JobState::done; }

/// Answer of job_wait. That the time is over first is an answer, not an error.
struct WaitAnswer {
  bool over = false;
  JobInfo info;
};

/// Fields of gf_log_record, with its texts.
struct LogLine {
  LogLevel level = LogLevel::off;
  std::int64_t unix_us = 0;
  std::uint64_t dropped = 0;   ///< Lines lost before this one.
  std::uint64_t repeated = 0;  ///< Above 0: it stands for so many lines like it.
  std::string module;
  std::string message;
};

/// Fields of gf_engine_options, where 0 means the default; and what tests put in place of the world.
struct EngineOptions {
  std::uint32_t executor_count = 0;      ///< 1 to 16. Default 1.
  std::uint32_t thread_count = 0;        ///< At most 256. Default: the usable cores.
  std::uint32_t queue_limit = 0;         ///< At most 1000000. Default 1024.
  std::uint32_t retained_job_count = 0;  ///< Default 256.
  std::uint32_t reserved_for_high = 0;   ///< Places of queue_limit that only jobs of high priority may take.
  queue::LaneRules lanes;
  queue::RateLimits submit_rates;  ///< Of jobs; per_queue is not looked at.
  LogLevel log_level = LogLevel::off;
  bool allow_model_paths = false;
  std::vector<std::string> model_folders;
  std::string backend_path;  ///< Empty: beside this library.
  /// Called on a thread of the engine, one call at a time, under no lock. What it throws is swallowed and logged.
  std::function<void(const Event&)> event_callback;
  std::function<void(const LogLine&)> log_callback;
  /// Hears of the log's last lines, of the jobs that run and of the memory held; may be null. Shared as the ledger.
  std::shared_ptr<error::CrashNote> crash_note;
  /// Shared with the engine's threads, which may outlive close(). nullptr: cache::process_ledger().
  std::shared_ptr<cache::Ledger> ledger;
  const Clock* clock = nullptr;  ///< nullptr: system_clock(). Must outlive the engine's threads.
};

/// How a job is queued; fields of gf_request.
struct Queueing {
  queue::Priority priority = queue::Priority::normal;
  std::string_view user = {};
  std::string_view user_class = {};
  std::string_view idempotency_key = {};
};

enum class JobKind;
struct JobSnapshot;

/// Checks ranges, folders and paths, and fills in defaults. Errors: invalid_argument names the option.
Result<EngineOptions> checked(EngineOptions options);

/// An engine. Threads: any, for every function. A share may outlive close(); what is called then answers
/// invalid_handle. Functions that make text or take jobs may throw bad_alloc, and have then changed nothing.
class Engine {
 public:
  /// Errors: those of checked(); io_error when a thread could not be started.
  static Result<std::shared_ptr<Engine>> open(EngineOptions options);
  /// Closes without waiting, if nobody has.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Refuses new work, cancels the rest, waits at most so long for the threads; what is left ends behind it. No
  /// callback begins once this has returned. timeout_us: at least 0. Errors: timed_out; wrong_state from inside a
  /// callback (nothing has changed then); invalid_handle when it is closed already; invalid_argument.
  Result<void> close(std::int64_t timeout_us);

  /// The next event, if there is one and no callback takes them.
  std::optional<Event> poll_event();
  /// The same, waiting at most so long. Errors: invalid_argument; invalid_handle when the engine is closed (meanwhile).
  Result<std::optional<Event>> wait_event(std::int64_t timeout_us);

  /// Shows the next log line to `take`, which answers whether it was taken; else it stays. False: there is none.
  bool poll_log(const std::function<bool(const LogLine&)>& take);

  std::string statistics_json() const;

  /// Adds to what is tried before a job's error goes on to the host. It runs on executors.
  /// Errors: those of error::ErrorHandler::add; invalid_handle.
  Result<void> add_strategy(error::RecoveryStrategy strategy);
  /// No run of it begins once this has returned. Errors: not_found; invalid_handle.
  Result<void> remove_strategy(std::string_view name);

  // Memory. Device 0, the CPU, is the only one so far; others are not_found.

  /// One store, for all engines of the process that share the device's ledger; 0 takes the budget away.
  Result<void> set_memory_budget(std::uint32_t device, std::uint64_t bytes);
  /// Has idle bytes given back; the answer is how many they are. Errors: timed_out (what comes later is given all the
  /// same); invalid_argument (timeout_us below 0); invalid_handle when the engine is closed.
  Result<std::uint64_t> request_memory(std::uint32_t device, std::uint64_t bytes, std::int64_t timeout_us);
  /// Whether changes of the memory pressure become events.
  void set_pressure_events(bool wanted);
  /// Looks now. Errors: not_found; invalid_handle; those of the source.
  Result<cache::MemoryReading> memory_reading(std::uint32_t device) const;
  std::string memory_json() const;
  /// Follows the device's total from now on. Errors: not_found; queue_full when too many do.
  Result<std::uint64_t> begin_memory_scope(std::uint32_t device, std::uint64_t growth_limit);
  /// Errors: wrong_state when it was ended, or never begun.
  Result<cache::Ledger::Watched> end_memory_scope(std::uint64_t scope);

  /// Errors: those of pipeline::check_model_reference; queue_full; shutting_down.
  Result<JobId> load_ahead(std::optional<std::string_view> model, std::uint64_t host_tag);
  Result<std::string> model_info_json(std::string_view model) const;
  std::string model_list_json() const;
  Result<void> pin_model(std::string_view model, bool pinned);
  /// Errors: not_found when it is not loaded.
  Result<void> release_model(std::string_view model);

  /// With a key of a job that is still known, that job's id, and nothing is taken in.
  /// Errors: those of pipeline::make_request and queue::check_name; queue_full; shutting_down.
  Result<JobId> submit(const pipeline::RequestDraft& draft, const Queueing& queueing = {});

  // The following answer not_found for a job that is unknown or no longer kept, and invalid_handle after close().

  Result<JobInfo> job_info(const JobId& id) const;
  /// timeout_us: at least 0. Errors: also invalid_argument.
  Result<WaitAnswer> job_wait(const JobId& id, std::int64_t timeout_us) const;
  Result<void> job_cancel(const JobId& id, CancelMode mode);
  /// Why it failed or was rejected; nullopt when it did not.
  Result<std::optional<Error>> job_error(const JobId& id) const;
  Result<std::string> job_report_json(const JobId& id) const;
  /// Errors: also not_found when the job has ended without that image; would_block when it is not ready yet.
  Result<std::shared_ptr<const pipeline::Image>> job_image(const JobId& id, std::uint32_t index) const;
  /// The image's recipe, for a PNG's text chunk. Errors: also not_found when there is no such image.
  Result<std::string> job_parameters_text(const JobId& id, std::uint32_t index) const;
  /// Errors: also not_found when they were not kept, or there is no such image yet.
  Result<std::shared_ptr<const std::vector<float>>> job_latents(const JobId& id, std::uint32_t index) const;
  /// Errors: also wrong_state when it is not over.
  Result<void> forget_job(const JobId& id);

 private:
  struct State;
  explicit Engine(std::shared_ptr<State> state);

  Result<JobId> take_in(JobKind kind, pipeline::Request request, const Queueing& queueing);
  Result<JobSnapshot> snapshot(const JobId& id) const;
  Result<std::shared_ptr<cache::GPUMemoryMonitor>> monitor() const;
  /// With the lock held. False: somebody has closed it before.
  bool begin_close();

  std::shared_ptr<State> state_;      // Shared with the engine's threads, which may end after close().
  std::vector<std::thread> threads_;  // Written by open and close alone.
};

/// What gf_doctor_json reports. Opens the backend if it can. `library_json` is the object that says what this library
/// was linked with. Errors: those of checked().
Result<std::string> doctor_json(EngineOptions options, std::string_view library_json);

}  // namespace gf::engine
