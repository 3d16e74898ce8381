// What an engine's threads and calls share. It outlives close() for as long as a thread needs it.
#pragma once

#include "cache/memory_ladder.hpp"
#include "cache/memory_monitor.hpp"
#include "cache/model_cache.hpp"
#include "engine/engine.hpp"
#include "engine/engine_log.hpp"
#include "engine/job.hpp"
#include "engine/model_slot.hpp"
#include "error/aggregator.hpp"
#include "error/handler.hpp"
#include "pipeline/backend_library.hpp"
#include "pipeline/model_folder.hpp"
#include "queue/memory_queue.hpp"
#include "queue/rate_limiter.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>

namespace gf::engine {

/// How many jobs there were.
struct JobCounts {
  std::uint64_t submitted = 0;
  std::uint64_t accepted = 0;
  std::uint64_t rejected = 0;
  std::uint64_t done = 0;
  std::uint64_t failed = 0;
  std::uint64_t cancelled = 0;
  std::uint64_t running = 0;
};

/// The threads of an engine and the locks between them:
///
///     host calls --- mutex --- intake thread --- queue's lock --- executors --- mail_mutex --- desk thread --- mutex
///
/// An executor takes neither `mutex` nor any other lock that a call of the host takes: a low-priority executor that is
/// preempted must not hold up a frame. What it has to tell goes to the desk thread as mail. Every thread waits without
/// a timeout, so that an idle engine does nothing.
struct Engine::State {
  State(EngineOptions checked_options, std::unique_ptr<EngineLog> opened_log);
  ~State();

  const EngineOptions options;
  const Clock& clock;
  cache::Ledger& ledger;
  const std::int64_t opened_us;
  const std::unique_ptr<EngineLog> log_owner;  // Before all that may write to it while it is destroyed.
  EngineLog& log;
  const std::unique_ptr<error::ErrorHandler> handler;  // What is tried before a job's error goes on to the host.
  // Fed by desk and intake, not by executors: its lock is one that host calls take.
  const std::unique_ptr<error::ErrorAggregator> errors;
  const pipeline::ModelFolders folders;
  JobIdMaker ids;
  // Before the slots and jobs, whose models it holds; they go to the backend when it is destroyed.
  const std::shared_ptr<cache::EnhancedModelCache> model_cache;
  const std::shared_ptr<cache::MemoryLadder> ladder;

  /// Jobs that wait, in intake or queue: what queue_limit bounds. Raised under `mutex`, lowered by whoever takes one
  /// out.
  std::atomic<std::uint32_t> waiting{0};

  // ---- The engine's lock: host calls, intake, desk, callback threads.
  mutable std::mutex mutex;
  // Guarded by mutex, all of the following.
  std::condition_variable intake_changed;
  std::condition_variable events_changed;
  std::condition_variable threads_changed;
  struct IdHash {
    std::size_t operator()(const JobId& id) const { return static_cast<std::size_t>(id.low ^ id.high); }
  };
  std::unordered_map<JobId, std::shared_ptr<Job>, IdHash> jobs;
  std::unordered_map<std::string, JobId> keys;  // Idempotency keys of jobs that are known.
  std::list<std::shared_ptr<Job>> finished;     // Oldest first.
  std::list<Event> events;
  std::list<IntakeItem> intake;
  std::map<std::string, std::shared_ptr<ModelSlot>> models;  // By path.
  std::shared_ptr<pipeline::Backend> backend_seen;           // For statistics; executors have their own way to it.
  JobCounts counts;
  std::map<std::string, std::shared_ptr<std::atomic<bool>>, std::less<>> strategies;  // The host's; true: no more runs.
  bool closing = false;
  bool muted = false;           // No callback begins any more.
  std::uint32_t producers = 0;  // Threads that may still make events: intake and desk.
  std::uint32_t threads = 0;    // Threads that have not ended.
  std::thread::id event_thread;

  // ---- Between intake and executors.
  const std::unique_ptr<queue::MemoryQueue> queue;
  const std::unique_ptr<queue::RateLimiter> limiter;  // Asked by intake; null without limits.

  // ---- Among executors.
  std::mutex backend_mutex;
  std::shared_ptr<pipeline::Backend> backend;  // Guarded by backend_mutex.

  // ---- Between executors and desk.
  std::mutex mail_mutex;
  std::condition_variable mail_changed;
  std::shared_ptr<Job> first_mail;  // Guarded by mail_mutex, as the next two.
  std::shared_ptr<Job> last_mail;
  std::uint32_t executors = 0;  // That have not ended.

  std::atomic<bool> pressure_events{false};
  // Set before any thread runs. Guarded by mutex for calls of the host, with whom close() shares it; executors have it
  // for as long as they live. The last member: its thread tells of pressure, and ends before anything else does.
  std::shared_ptr<cache::GPUMemoryMonitor> monitor;

  /// On the monitor's thread.
  void tell_pressure(const cache::PressureEvent& pressure);

  // Thread functions.
  void run_intake();
  void run_executor(std::uint32_t index);
  void run_desk();
  void run_event_callback();

  // Intake's work. None of them throws.
  void judge(const std::shared_ptr<Job>& job) noexcept;
  void cancel_waiting(const std::shared_ptr<Job>& job) noexcept;
  /// A job that nobody runs has ended. Takes the lock.
  void end_waiting(const std::shared_ptr<Job>& job, Outcome outcome) noexcept;
  std::shared_ptr<ModelSlot> slot_of(const std::string& name, const std::string& path);

  // Executors' work.
  void run_job(const std::shared_ptr<Job>& job, std::uint32_t executor) noexcept;
  Result<std::shared_ptr<pipeline::Backend>> open_backend();
  /// Changes a job's mail under its lock, and hands it to the desk.
  template <class Change>
  void post(const std::shared_ptr<Job>& job, Change&& change) noexcept {
    const std::lock_guard lock(mail_mutex);
    change(job->mail);
    if (job->mail_posted) return;
    job->mail_posted = true;
    (last_mail ? last_mail->next_mail : first_mail) = job;
    last_mail = job;
    mail_changed.notify_one();
  }

  // The desk's work; `mutex` is held.
  void apply(const std::shared_ptr<Job>& job, Mail& mail, std::list<std::shared_ptr<Job>>& gone);
  void emit(Job& job, EventType type, Status status = Status::ok);
  /// Ends a job; `gone` receives jobs that are no longer kept, to be destroyed without the lock.
  void finish(const std::shared_ptr<Job>& job, Outcome outcome, std::list<std::shared_ptr<Job>>& gone);
  /// Takes the next event out; nothing when there is none.
  std::optional<Event> take_event();
  /// Takes the job out of the table, with the events that only matter while it is there.
  void forget(Job& job);

  /// From here on no callback or strategy of the host's begins.
  void mute();
  void raise_cancel(const std::shared_ptr<Job>& job, CancelWish wish);
  Result<std::shared_ptr<Job>> find(const JobId& id) const;
  /// A thread has ended.
  void leave(bool is_producer);

  /// Writes a log line of `make`'s text, which is only called where somebody listens.
  template <class Make>
  void note(LogLevel level, Make&& make) noexcept {
    if (!log.enabled(level)) return;
    try {
      log.write(level, "engine", make());
    } catch (...) {  // A line that there is no memory for.
    }
  }

  std::int64_t since_open_us() const { return clock.now_us() - opened_us; }
};

/// The texts of report.cpp. `job` is a copy of what the engine's lock guards.
struct JobSnapshot {
  JobId id;
  JobKind kind = JobKind::generate;
  queue::Priority priority = queue::Priority::normal;
  std::string user;
  JobInfo info;
  std::uint64_t initial_latent_count = 0;
  std::shared_ptr<const pipeline::Request> request;
  std::shared_ptr<const pipeline::ModelDescription> model;
  std::shared_ptr<const RunRecord> record;
  std::optional<Error> error;
  std::vector<std::string> warnings;
};
std::string report_json(const JobSnapshot& job);
std::string parameters_text(const JobSnapshot& job, std::uint32_t image);
std::string_view name_of(JobState state);

}  // namespace gf::engine
