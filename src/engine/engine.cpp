#include "engine/engine.hpp"

#include "base/json_text.hpp"
#include "base/platform.hpp"
#include "base/utf8.hpp"
#include "cache/host_source.hpp"
#include "engine/state.hpp"
#include "engine/thrift.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <iterator>
#include <system_error>
#include <utility>

namespace gf::engine {
namespace {

Error closed() { return Error{Status::invalid_handle, "the engine is closed", {}}; }

Result<std::chrono::steady_clock::time_point> deadline_after(std::int64_t timeout_us) {
  if (timeout_us < 0) {
    return Error{Status::invalid_argument, fmt::format("timeout_us is {}; it must be at least 0", timeout_us), {}};
  }
  // A hundred years are as good as any longer time, and cannot overflow the clock.
  constexpr std::int64_t longest_us = 100LL * 365 * 24 * 3600 * 1'000'000;
  return std::chrono::steady_clock::now() + std::chrono::microseconds(std::min(timeout_us, longest_us));
}

/// The members that say whether a model is in memory; `slot` is null for one that was never asked for.
void write_residence(JsonText& out, const ModelSlot* slot) {
  out.member("loaded", slot != nullptr && slot->is_loaded());
  out.member("pinned", slot != nullptr && slot->pinned.load());
}

void write_classes(JsonText& out, std::string_view name, const std::array<std::uint64_t, 3>& bytes) {
  out.key(name).begin_object().member("weights", bytes[0]).member("activations", bytes[1]);
  out.member("staging", bytes[2]).end_object();
}

void write_account(JsonText& out, const cache::LedgerAccount& account) {
  out.begin_object().member("device", 0).member("total_bytes", account.total).member("peak_bytes", account.peak);
  out.key("limit_bytes");
  if (account.limit == cache::no_limit) {
    out.null();
  } else {
    out.number(account.limit);
  }
  write_classes(out, "committed_bytes", account.committed);
  write_classes(out, "reserved_bytes", account.reserved);
  out.end_object();
}

void write_backend(JsonText& out, const pipeline::Backend* backend) {
  if (backend == nullptr) {
    out.null();
    return;
  }
  const auto numbers = backend->statistics();
  out.begin_object().member("name", backend->name()).member("version", backend->version());
  out.member("models", numbers.models).member("weight_bytes", numbers.weight_bytes);
  out.member("load_us", numbers.load_us).member("encode_us", numbers.encode_us);
  out.member("step_us", numbers.step_us).member("decode_us", numbers.decode_us).member("steps", numbers.steps);
  out.end_object();
}

/// The engine keeps its own account of jobs and tells its own events, so the queue remembers nothing that is over.
std::unique_ptr<queue::MemoryQueue> make_queue(const EngineOptions& options) {
  queue::MemoryQueueOptions wanted;
  wanted.queue.depth = {options.queue_limit, 0};
  wanted.queue.lanes = options.lanes;
  wanted.queue.kept_finished = 0;
  wanted.queue.kept_events = 0;
  // Within one process a job's holder cannot die without it, so its lease need not run out.
  wanted.queue.lease_us = queue::max_delay_us;
  wanted.clock = options.clock;
  return queue::MemoryQueue::create(std::move(wanted)).value();
}

std::unique_ptr<queue::RateLimiter> make_limiter(const EngineOptions& options) {
  const auto& rates = options.submit_rates;
  if (!rates.global && !rates.per_user && rates.user_classes.empty()) return nullptr;
  return queue::MemoryRateLimiter::create(rates, *options.clock).value();
}

/// What was tried before errors went on to the host: operations = clean + recovered + failed, when none is running.
void write_recovery(JsonText& out, const error::HandlerStatistics& numbers) {
  out.begin_object().member("operations", numbers.operations).member("clean", numbers.clean);
  out.member("recovered", numbers.recovered).member("failed", numbers.failed);
  out.member("failed_recoverable", numbers.failed_recoverable).member("cancelled", numbers.cancelled);
  out.member("retries", numbers.retries).member("out_of_budget", numbers.out_of_budget);
  out.key("strategies").begin_object();
  for (const auto& [name, strategy] : numbers.strategies) {
    out.key(name).begin_object().member("tried", strategy.tried).member("recovered", strategy.recovered).end_object();
  }
  out.end_object().end_object();
}

/// The groups with most errors of the last hour.
void write_errors(JsonText& out, const error::ErrorAggregator& errors, std::int64_t unix_us) {
  constexpr std::int64_t hour_us = 3'600'000'000;
  const auto numbers = errors.statistics();
  out.begin_object().member("count", numbers.errors).member("groups", numbers.groups);
  out.member("evicted_groups", numbers.evicted_groups).key("top").begin_array();
  for (const auto& group : errors.top(unix_us, hour_us, 5)) {
    out.begin_object().member("fingerprint", fmt::format("{:016x}", group.fingerprint)).member("title", group.title);
    out.member("status", static_cast<std::int32_t>(group.status)).member("last_hour", group.in_window);
    out.member("total", group.total).member("sample", group.sample).member("alarming", group.alarming).end_object();
  }
  out.end_array().end_object();
}

/// Loaded models of the one device so far, the CPU, whose memory the backend charges to the ledger itself.
std::shared_ptr<cache::EnhancedModelCache> make_cache(const EngineOptions& options) {
  cache::ModelCacheOptions wanted;
  wanted.ledger = options.ledger;
  wanted.clock = options.clock;
  return cache::EnhancedModelCache::create(std::move(wanted)).value();
}

std::shared_ptr<cache::MemoryLadder> make_ladder(const EngineOptions& options, error::ErrorHandler& handler) {
  std::vector<std::unique_ptr<cache::LadderRung>> rungs;
  rungs.push_back(cache::make_evict_idle_rung(options.ledger));
  for (auto& rung : make_thrift_rungs()) rungs.push_back(std::move(rung));
  constexpr std::int64_t patience_us = 30'000'000;
  rungs.push_back(cache::make_wait_rung(options.ledger, patience_us));
  auto ladder = cache::MemoryLadder::create(options.ledger, std::move(rungs)).value();
  ladder->join(handler).value();
  return ladder;
}

/// What is left to the rest of the machine.
std::uint64_t headroom_of(std::uint64_t total_bytes) {
  return std::min<std::uint64_t>(total_bytes / 20, std::uint64_t{256} << 20);
}

std::unique_ptr<error::ErrorHandler> make_handler(const Clock& clock) {
  error::HandlerOptions options;
  options.clock = &clock;
  options.jitter_seed = random_bits();
  return error::ErrorHandler::create(options).value();
}

}  // namespace

Engine::State::State(EngineOptions checked_options, std::unique_ptr<EngineLog> opened_log)
    : options(std::move(checked_options)),
      clock(*options.clock),
      ledger(*options.ledger),
      opened_us(clock.now_us()),
      log_owner(std::move(opened_log)),
      log(*log_owner),
      handler(make_handler(clock)),
      errors(error::ErrorAggregator::create({}, std::max<std::int64_t>(clock.unix_us(), 0)).value()),
      folders(options.model_folders, options.allow_model_paths),
      model_cache(make_cache(options)),
      ladder(make_ladder(options, *handler)),
      queue(make_queue(options)),
      limiter(make_limiter(options)) {
  jobs.reserve(std::min<std::size_t>(std::size_t{options.queue_limit} + options.retained_job_count, 4096));
}

Engine::State::~State() = default;

void Engine::State::tell_pressure(const cache::PressureEvent& pressure) {
  note(pressure.level > pressure.before ? LogLevel::warning : LogLevel::info, [&] {
    return fmt::format("memory pressure of device {} is {}: {} of {} bytes are held, {} are free, {} were given back",
                       pressure.device, cache::name_of(pressure.level), pressure.reading.own_live,
                       pressure.reading.limit, pressure.reading.free, pressure.reclaimed);
  });
  if (!pressure_events) return;
  std::list<Event> made;
  auto& event = made.emplace_back();
  event.type = EventType::memory_pressure;
  event.step = static_cast<std::uint32_t>(pressure.level);
  event.total = static_cast<std::uint32_t>(pressure.before);
  event.image = pressure.device;
  event.at_us = since_open_us();
  const std::lock_guard lock(mutex);
  // The newest of a device counts: the host that does not poll piles up none.
  for (auto& waiting_event : events) {
    if (waiting_event.type != EventType::memory_pressure || waiting_event.image != pressure.device) continue;
    event.total = waiting_event.total;
    waiting_event = event;
    return;
  }
  events.splice(events.end(), made);
  events_changed.notify_all();
}

Result<std::shared_ptr<Job>> Engine::State::find(const JobId& id) const {
  if (closing) return closed();
  const auto found = jobs.find(id);
  if (found == jobs.end()) {
    return Error{Status::not_found, fmt::format("job {} is unknown, or no longer kept", to_text(id)), {}};
  }
  return found->second;
}

void Engine::State::raise_cancel(const std::shared_ptr<Job>& job, CancelWish wish) {
  if (is_over(job->info.state) || job->cancel >= wish) return;
  job->cancel = wish;
  // One visit of the intake thread is enough: who is woken reads the newest wish.
  if (job->cancel_item.empty()) return;
  job->cancel_item.front().job = job;
  intake.splice(intake.begin(), job->cancel_item);
  intake_changed.notify_one();
}

void Engine::State::mute() {
  muted = true;
  for (const auto& [name, over] : strategies) over->store(true);
  events_changed.notify_all();
}

void Engine::State::leave(bool is_producer) {
  {
    const std::lock_guard lock(mutex);
    if (is_producer) --producers;
    --threads;
    events_changed.notify_all();
    threads_changed.notify_all();
  }
}

void Engine::State::run_event_callback() {
  {
    const std::lock_guard lock(mutex);
    event_thread = std::this_thread::get_id();
  }
  for (;;) {
    std::optional<Event> event;
    {
      std::unique_lock lock(mutex);
      events_changed.wait(lock, [this] { return muted || !events.empty() || producers == 0; });
      if (muted) return;
      event = take_event();
      if (!event) return;
    }
    try {
      options.event_callback(*event);
    } catch (...) {
      note(LogLevel::error, [] { return "the event callback threw"; });
    }
  }
}

Engine::Engine(std::shared_ptr<State> state) : state_(std::move(state)) {}

Result<std::shared_ptr<Engine>> Engine::open(EngineOptions options) {
  GF_TRY(auto used, checked(std::move(options)));
  GF_TRY(auto log, EngineLog::open(used));
  auto state = std::make_shared<State>(std::move(used), std::move(log));
  std::shared_ptr<Engine> engine(new Engine(state));
  {
    cache::MonitorOptions watched;
    watched.clock = state->options.clock;
    watched.on_pressure = [of = state.get()](const cache::PressureEvent& pressure) { of->tell_pressure(pressure); };
    // Where the machine does not tell of its memory, the budget is all there is.
    if (auto source = cache::HostSource::open()) {
      GF_TRY(const auto memory, source.value()->read(0));
      watched.devices.push_back({0, std::move(source).value(), 0, 1, headroom_of(memory.total), {}});
    }
    GF_TRY(state->monitor, cache::GPUMemoryMonitor::create(state->options.ledger, std::move(watched)));
  }

  // Counts a thread before it runs, and back when it could not be started.
  const auto start = [&](const char* name, bool is_producer, auto body) {
    engine->threads_.reserve(engine->threads_.size() + 1);
    {
      const std::lock_guard lock(state->mutex);
      ++state->threads;
      if (is_producer) ++state->producers;
    }
    try {
      engine->threads_.push_back(start_thread(name, [state, body, is_producer] {
        body(*state);
        state->leave(is_producer);
      }));
    } catch (...) {
      state->leave(is_producer);
      throw;
    }
  };
  // The desk ends with the last executor and callbacks with the last that feeds them, so they must not find nobody
  // there.
  auto missing = state->options.executor_count;
  state->executors = missing;
  try {
    start("gf-desk", true, [](State& of) { of.run_desk(); });
    for (std::uint32_t index = 0; missing != 0; ++index) {
      start("gf-executor", false, [index](State& of) { of.run_executor(index); });
      --missing;
    }
    start("gf-intake", true, [](State& of) { of.run_intake(); });
    if (state->options.event_callback) start("gf-events", false, [](State& of) { of.run_event_callback(); });
  } catch (...) {
    // ~Engine ends those that run; what they wait for and nobody else would do is done here.
    state->queue->close();
    {
      const std::lock_guard lock(state->mail_mutex);
      state->executors -= missing;
      state->mail_changed.notify_all();
    }
    try {
      throw;
    } catch (const std::system_error& error) {
      return Error{Status::io_error, fmt::format("a thread could not be started: {}", error.what()), {}};
    }
  }
  state->note(LogLevel::info, [&] {
    return fmt::format("opened with {} executors of {} threads", state->options.executor_count,
                       state->options.thread_count);
  });
  return engine;
}

bool Engine::begin_close() {
  auto& state = *state_;
  if (std::exchange(state.closing, true)) return false;
  for (const auto& [id, job] : state.jobs) {
    if (!is_over(job->info.state)) job->cancel = CancelWish::now;
    job->over.notify_all();
  }
  state.intake_changed.notify_all();
  state.events_changed.notify_all();
  return true;
}

Result<void> Engine::close(std::int64_t timeout_us) {
  GF_TRY(const auto deadline, deadline_after(timeout_us));
  auto& state = *state_;
  {
    const std::lock_guard lock(state.mutex);
    const auto self = std::this_thread::get_id();
    if (self == state.event_thread || state.log.is_own_thread()) {
      return Error{Status::wrong_state, "the engine cannot be closed from inside one of its callbacks", {}};
    }
    if (!begin_close()) return closed();
  }
  bool ended = false;
  {
    std::unique_lock lock(state.mutex);
    ended = state.threads_changed.wait_until(lock, deadline, [&] { return state.threads == 0; });
    // From here on the host may free what its callbacks use.
    state.mute();
  }
  // What the threads wrote last is handed on, where there is time left; no log callback begins after that either.
  const auto left = std::chrono::duration_cast<std::chrono::microseconds>(deadline - std::chrono::steady_clock::now());
  if (!ended) state.log.mute();
  const bool told = state.log.close(ended ? std::max<std::int64_t>(left.count(), 0) : 0).has_value();
  state.log.mute();
  for (auto& thread : threads_) {
    if (ended) {
      thread.join();
    } else {
      thread.detach();
    }
  }
  threads_.clear();
  if (!ended || !told) {
    return Error{
        Status::timed_out,
        fmt::format("threads of the engine are still ending after {} us; they end behind this call", timeout_us),
        {}};
  }
  // All threads are gone: models and backend go now, and not with the last share that a call holds.
  decltype(state.models) models;
  std::shared_ptr<pipeline::Backend> seen;
  std::shared_ptr<cache::GPUMemoryMonitor> watching;
  std::unordered_map<JobId, std::shared_ptr<Job>, State::IdHash> jobs;
  std::list<std::shared_ptr<Job>> finished;
  {
    const std::lock_guard lock(state.mutex);
    models.swap(state.models);
    seen.swap(state.backend_seen);
    watching.swap(state.monitor);
    jobs.swap(state.jobs);
    state.keys.clear();
    finished.swap(state.finished);
    state.events.clear();
    state.intake.clear();
  }
  jobs.clear();
  finished.clear();
  models.clear();
  (void)state.model_cache->clear();
  watching.reset();
  seen.reset();
  const std::lock_guard lock(state.backend_mutex);
  state.backend.reset();
  return success();
}

Engine::~Engine() {
  {
    const std::lock_guard lock(state_->mutex);
    begin_close();
    state_->mute();
  }
  state_->log.mute();
  (void)state_->log.close(0);
  for (auto& thread : threads_) thread.detach();
}

std::optional<Event> Engine::poll_event() {
  const std::lock_guard lock(state_->mutex);
  if (state_->options.event_callback) return std::nullopt;
  return state_->take_event();
}

Result<std::optional<Event>> Engine::wait_event(std::int64_t timeout_us) {
  GF_TRY(const auto deadline, deadline_after(timeout_us));
  auto& state = *state_;
  std::unique_lock lock(state.mutex);
  const bool polled = !state.options.event_callback;
  state.events_changed.wait_until(lock, deadline, [&] { return state.closing || (polled && !state.events.empty()); });
  if (state.closing) return closed();
  return polled ? state.take_event() : std::nullopt;
}

bool Engine::poll_log(const std::function<bool(const LogLine&)>& take) { return state_->log.poll(take); }

Result<void> Engine::add_strategy(error::RecoveryStrategy strategy) {
  auto over = std::make_shared<std::atomic<bool>>(false);
  auto name = strategy.name;
  if (strategy.recover) {
    strategy.recover = [over, recover = std::move(strategy.recover)](const Error& error,
                                                                     const error::Failure& failure) {
      return over->load() ? error::RecoveryStep{} : recover(error, failure);
    };
  }
  const std::lock_guard lock(state_->mutex);
  if (state_->closing) return closed();
  GF_TRYV(state_->handler->add(std::move(strategy)));
  try {
    state_->strategies.emplace(name, std::move(over));
  } catch (...) {
    state_->handler->remove(name);
    throw;
  }
  return success();
}

Result<void> Engine::remove_strategy(std::string_view name) {
  const std::lock_guard lock(state_->mutex);
  if (state_->closing) return closed();
  const auto found = state_->strategies.find(name);
  if (found == state_->strategies.end()) {
    return Error{Status::not_found, fmt::format("there is no strategy {} of the host's", shown(name)), {}};
  }
  found->second->store(true);
  state_->handler->remove(name);
  state_->strategies.erase(found);
  return success();
}

Result<JobId> Engine::take_in(JobKind kind, pipeline::Request request, const Queueing& queueing) {
  auto& state = *state_;
  // All that may run out of memory comes first, also what only the job's end needs.
  auto job = std::make_shared<Job>();
  job->kind = kind;
  job->host_tag = request.host_tag;
  job->priority = queueing.priority;
  job->user = queueing.user;
  job->user_class = queueing.user_class;
  job->idempotency_key = queueing.idempotency_key;
  job->initial_latent_count = request.initial_latents.size();
  job->submitted_us = state.clock.now_us();
  auto& info = job->info;
  info.host_tag = request.host_tag;
  if (kind == JobKind::generate) {
    info.image_count = request.image_count;
    info.width_px = request.width_px;
    info.height_px = request.height_px;
    info.seed = request.seed;
    for (auto* images : {&job->images, &job->spare_images, &job->mail.images}) images->reserve(request.image_count);
    if (request.keep_latents) {
      for (auto* latents : {&job->latents, &job->spare_latents, &job->mail.latents}) {
        latents->reserve(request.image_count);
      }
    }
  }
  job->request = std::make_shared<pipeline::Request>(std::move(request));
  // accepted or rejected, started, progress, image, and one that ends it.
  job->spare_events.resize(5);
  job->cancel_item.push_back({IntakeItem::Kind::cancel, nullptr, nullptr});
  // A job that is not taken in must not keep itself alive, also when what follows runs out of memory.
  struct Untie {
    Job* of;
    ~Untie() {
      if (of != nullptr) of->finished_place.clear();
    }
  } untie{job.get()};
  job->finished_place.push_back(job);
  std::list<IntakeItem> item;
  item.push_back({IntakeItem::Kind::judge, job, nullptr});
  job->id = state.ids.make(state.clock.unix_us(), random_bits());
  {
    const std::lock_guard lock(state.mutex);
    if (state.closing) return Error{Status::shutting_down, "the engine is being closed", {}};
    if (!job->idempotency_key.empty()) {
      // Before the limit: this job is in.
      const auto holder = state.keys.find(job->idempotency_key);
      if (holder != state.keys.end()) return holder->second;
    }
    const auto limit = state.options.queue_limit;
    const auto kept_free = job->priority == queue::Priority::high ? 0 : state.options.reserved_for_high;
    if (state.waiting >= limit - kept_free) {
      auto message = fmt::format("{} jobs wait already, which is the queue_limit", limit);
      if (kept_free != 0) {
        message = fmt::format("{} jobs wait already; of the queue_limit, {}, {} places are for high priority",
                              state.waiting.load(), limit, kept_free);
      }
      return Error{Status::queue_full, std::move(message), {}};
    }
    if (!job->idempotency_key.empty()) state.keys.emplace(job->idempotency_key, job->id);
    try {
      state.jobs.emplace(job->id, job);
    } catch (...) {
      state.keys.erase(job->idempotency_key);
      throw;
    }
    ++state.waiting;
    ++state.counts.submitted;
    state.intake.splice(state.intake.end(), item);
    state.intake_changed.notify_one();
  }
  untie.of = nullptr;
  return job->id;
}

Result<JobId> Engine::submit(const pipeline::RequestDraft& draft, const Queueing& queueing) {
  GF_TRYV(queue::check_name("user", queueing.user, true));
  GF_TRYV(queue::check_name("user_class", queueing.user_class, true));
  GF_TRYV(queue::check_name("idempotency_key", queueing.idempotency_key, true));
  GF_TRY(auto request, pipeline::make_request(draft, state_->options.allow_model_paths, random_bits()));
  return take_in(JobKind::generate, std::move(request), queueing);
}

Result<JobId> Engine::load_ahead(std::optional<std::string_view> model, std::uint64_t host_tag) {
  pipeline::Request request;
  GF_TRY(request.model, pipeline::check_model_reference(model, state_->options.allow_model_paths));
  request.host_tag = host_tag;
  return take_in(JobKind::load_ahead, std::move(request), {});
}

Result<std::string> Engine::model_info_json(std::string_view model) const {
  GF_TRY(const auto name, state_->folders.resolve(model));
  GF_TRY(const auto description, state_->folders.inspect(name));
  JsonText out;
  out.begin_object();
  pipeline::write_json(out, *description);
  const std::lock_guard lock(state_->mutex);
  const auto found = state_->models.find(name.path);
  write_residence(out, found == state_->models.end() ? nullptr : found->second.get());
  out.end_object();
  return std::move(out).str();
}

std::string Engine::model_list_json() const {
  const auto names = state_->folders.list();
  JsonText out;
  out.begin_array();
  const std::lock_guard lock(state_->mutex);
  for (const auto& [name, path] : names) {
    const auto found = state_->models.find(path);
    out.begin_object().member("name", name).member("path", path);
    write_residence(out, found == state_->models.end() ? nullptr : found->second.get());
    out.end_object();
  }
  out.end_array();
  return std::move(out).str();
}

Result<void> Engine::pin_model(std::string_view model, bool pinned) {
  GF_TRY(const auto name, state_->folders.resolve(model));
  const std::lock_guard lock(state_->mutex);
  if (state_->closing) return closed();
  state_->slot_of(name.name, name.path)->pinned = pinned;
  return success();
}

Result<void> Engine::release_model(std::string_view model) {
  GF_TRY(const auto name, state_->folders.resolve(model));
  std::list<IntakeItem> item;
  item.push_back({IntakeItem::Kind::drop_model, nullptr, nullptr});
  const std::lock_guard lock(state_->mutex);
  if (state_->closing) return closed();
  const auto found = state_->models.find(name.path);
  // The flag is taken here, the model by the intake thread: before it judges a job that is submitted after this call.
  if (found == state_->models.end() || !found->second->take_loaded()) {
    return Error{Status::not_found, fmt::format("the model {} is not loaded", shown(model)), {}};
  }
  found->second->pinned = false;
  item.front().slot = found->second;
  state_->intake.splice(state_->intake.end(), item);
  state_->intake_changed.notify_one();
  return success();
}

Result<JobInfo> Engine::job_info(const JobId& id) const {
  const std::lock_guard lock(state_->mutex);
  GF_TRY(const auto job, state_->find(id));
  return job->info;
}

Result<WaitAnswer> Engine::job_wait(const JobId& id, std::int64_t timeout_us) const {
  GF_TRY(const auto deadline, deadline_after(timeout_us));
  std::unique_lock lock(state_->mutex);
  GF_TRY(const auto job, state_->find(id));
  const bool over = job->over.wait_until(lock, deadline, [&] { return state_->closing || is_over(job->info.state); });
  if (state_->closing) return closed();
  return WaitAnswer{over, job->info};
}

Result<void> Engine::job_cancel(const JobId& id, CancelMode mode) {
  if (mode != CancelMode::now && mode != CancelMode::after_image) {
    return Error{
        Status::unsupported, fmt::format("mode is {}; known are 0 and 1", static_cast<std::uint32_t>(mode)), {}};
  }
  const std::lock_guard lock(state_->mutex);
  GF_TRY(const auto job, state_->find(id));
  state_->raise_cancel(job, mode == CancelMode::now ? CancelWish::now : CancelWish::after_image);
  return success();
}

Result<std::optional<Error>> Engine::job_error(const JobId& id) const {
  const std::lock_guard lock(state_->mutex);
  GF_TRY(const auto job, state_->find(id));
  // Spelt out: an optional<Error> converts to either side of the result.
  return Result<std::optional<Error>>(BOOST_OUTCOME_V2_NAMESPACE::in_place_type<std::optional<Error>>, job->error);
}

Result<JobSnapshot> Engine::snapshot(const JobId& id) const {
  const std::lock_guard lock(state_->mutex);
  GF_TRY(const auto job, state_->find(id));
  JobSnapshot out;
  out.id = job->id;
  out.kind = job->kind;
  out.priority = job->priority;
  out.user = job->user;
  out.info = job->info;
  out.initial_latent_count = job->initial_latent_count;
  out.request = job->request;
  out.model = job->model;
  out.record = job->record;
  out.error = job->error;
  out.warnings = job->warnings;
  return out;
}

Result<std::string> Engine::job_report_json(const JobId& id) const {
  GF_TRY(const auto job, snapshot(id));
  return report_json(job);
}

Result<std::string> Engine::job_parameters_text(const JobId& id, std::uint32_t index) const {
  GF_TRY(const auto job, snapshot(id));
  if (index >= job.info.image_count) {
    return Error{Status::not_found, fmt::format("index is {}; the job has {} images", index, job.info.image_count), {}};
  }
  return parameters_text(job, index);
}

Result<std::shared_ptr<const pipeline::Image>> Engine::job_image(const JobId& id, std::uint32_t index) const {
  const std::lock_guard lock(state_->mutex);
  GF_TRY(const auto job, state_->find(id));
  if (index < job->images.size()) return job->images[index];
  if (index >= job->info.image_count) {
    return Error{
        Status::not_found, fmt::format("index is {}; the job has {} images", index, job->info.image_count), {}};
  }
  if (is_over(job->info.state)) {
    return Error{Status::not_found,
                 fmt::format("the job ended as {} before its image {} was made", name_of(job->info.state), index),
                 {}};
  }
  return Error{Status::would_block, fmt::format("image {} is not ready yet", index), {}};
}

Result<std::shared_ptr<const std::vector<float>>> Engine::job_latents(const JobId& id, std::uint32_t index) const {
  const std::lock_guard lock(state_->mutex);
  GF_TRY(const auto job, state_->find(id));
  if (index < job->latents.size()) return job->latents[index];
  return Error{Status::not_found,
               job->request->keep_latents ? fmt::format("image {} has no latents yet", index)
                                          : std::string("the request did not ask for latents to be kept"),
               {}};
}

Result<void> Engine::forget_job(const JobId& id) {
  std::shared_ptr<Job> job;  // Destroyed after the lock is gone.
  std::list<std::shared_ptr<Job>> place;
  const std::lock_guard lock(state_->mutex);
  GF_TRY(job, state_->find(id));
  if (!is_over(job->info.state)) {
    return Error{Status::wrong_state,
                 fmt::format("the job is {}; only one that is over can be forgotten", name_of(job->info.state)),
                 {}};
  }
  state_->forget(*job);
  place.splice(place.end(), state_->finished, job->finished_at);
  return success();
}

std::string Engine::statistics_json() const {
  auto& state = *state_;
  JobCounts counts;
  std::uint64_t kept = 0;
  std::uint64_t events = 0;
  bool closing = false;
  std::uint32_t threads = 0;
  std::shared_ptr<pipeline::Backend> backend;
  JsonText models;
  models.begin_array();
  {
    const std::lock_guard lock(state.mutex);
    counts = state.counts;
    kept = state.jobs.size();
    events = state.events.size();
    closing = state.closing;
    threads = state.threads;
    backend = state.backend_seen;
    for (const auto& [path, slot] : state.models) {
      models.begin_object().member("name", slot->name()).member("path", path);
      write_residence(models, slot.get());
      models.end_object();
    }
  }
  models.end_array();
  JsonText out;
  out.begin_object().key("jobs").begin_object().member("submitted", counts.submitted);
  out.member("accepted", counts.accepted).member("rejected", counts.rejected);
  out.member("waiting", state.waiting.load()).member("running", counts.running).member("done", counts.done);
  out.member("failed", counts.failed).member("cancelled", counts.cancelled).member("kept", kept).end_object();
  out.member("events_waiting", events).key("models").json(models.str());
  out.key("memory").begin_object().key("ledger");
  write_account(out, state.ledger.account(0));
  out.member("resident_bytes", resident_bytes()).member("peak_resident_bytes", peak_resident_bytes()).end_object();
  out.key("backend");
  write_backend(out, backend.get());
  out.member("threads", threads).member("executor_count", state.options.executor_count);
  out.member("thread_count", state.options.thread_count).member("queue_limit", state.options.queue_limit);
  out.member("retained_job_count", state.options.retained_job_count).member("closing", closing);
  out.member("open_us", state.since_open_us());
  out.key("recovery");
  write_recovery(out, state.handler->statistics());
  out.key("errors");
  state.errors->tick(state.clock.unix_us());
  write_errors(out, *state.errors, state.clock.unix_us());
  out.key("library").begin_object().member("name", "gameforge").member("version", GAMEFORGE_VERSION).end_object();
  out.end_object();
  return std::move(out).str();
}

}  // namespace gf::engine
