// Executors: each takes one job at a time from the queue and runs it on the backend, telling the desk as it goes.
#include "engine/state.hpp"
#include "engine/thrift.hpp"
#include "pipeline/seam.hpp"

#include "base/platform.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <exception>
#include <limits>
#include <new>
#include <thread>
#include <utility>
#include <vector>

namespace gf::engine {
namespace {

std::uint32_t narrow(std::uint64_t value) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(value, std::numeric_limits<std::uint32_t>::max()));
}

/// What the backend asks and tells while it works on one job.
class JobWatcher final : public pipeline::CallWatcher {
 public:
  using Report = std::function<void(Stage stage, std::uint32_t done, std::uint32_t total)>;

  JobWatcher(const Job& job, const JobPlan& plan, Report report) : job_(job), plan_(plan), report_(std::move(report)) {}

  std::uint32_t thrift() const noexcept override { return plan_.thrift.load(std::memory_order_relaxed); }

  /// While an image is being made, "after this image" is no reason to stop; before one was begun it is.
  void making_image(bool yes) {
    least_.store(yes ? CancelWish::now : CancelWish::after_image, std::memory_order_relaxed);
  }

  bool cancelled() const noexcept override {
    return job_.cancel.load(std::memory_order_relaxed) >= least_.load(std::memory_order_relaxed);
  }

  void progress(std::uint32_t stage, std::uint64_t done, std::uint64_t total) noexcept override {
    if (stage == GF_BACKEND_STAGE_LOADING) {
      report_(Stage::loading, narrow(done / 1024), narrow(total / 1024));
    } else if (stage == GF_BACKEND_STAGE_ENCODING) {
      report_(Stage::encoding, narrow(done), narrow(total));
    } else if (stage == GF_BACKEND_STAGE_DECODING) {
      report_(Stage::decoding, narrow(done), narrow(total));
    }  // Steps are counted by who asks for them.
  }

 private:
  const Job& job_;
  const JobPlan& plan_;
  const Report report_;
  std::atomic<CancelWish> least_{CancelWish::after_image};
};

Error was_cancelled() { return Error{Status::cancelled, "the job was cancelled", {}}; }

/// Waits between two tries of a job's work. In naps, because whoever cancels the job does not know that it waits here.
class JobWaiter final : public error::Waiter {
 public:
  explicit JobWaiter(const JobWatcher& watcher) : watcher_(watcher) {}
  bool wait(std::int64_t us) override {
    constexpr std::int64_t nap_us = 2000;
    for (; us > 0; us -= nap_us) {
      if (watcher_.cancelled()) return false;
      std::this_thread::sleep_for(std::chrono::microseconds(std::min(us, nap_us)));
    }
    return !watcher_.cancelled();
  }

 private:
  const JobWatcher& watcher_;
};

/// One run of one job, from the model to the last image. Not synchronised; its executor's own.
class Run {
 public:
  /// What a run tells: see Mail.
  struct Desk {
    std::function<void(Stage, std::uint32_t step, std::uint32_t total, std::uint32_t image)> progress;
    std::function<void(std::shared_ptr<const pipeline::Image>, std::shared_ptr<const std::vector<float>>)> image;
    std::function<void(const StageTimes&)> times;
    std::function<Result<std::shared_ptr<pipeline::Backend>>()> open_backend;
    error::ErrorHandler* handler = nullptr;  ///< Its engine's, as the next.
    cache::MemoryLadder* ladder = nullptr;
    cache::Ledger* ledger = nullptr;
  };

  Run(const Job& job, const Clock& clock, Desk desk, std::uint32_t threads, RunRecord& record, StageTimes& times)
      : job_(job),
        clock_(clock),
        desk_(std::move(desk)),
        threads_(threads),
        record_(record),
        times_(times),
        watcher_(job, plan_, [this](Stage stage, std::uint32_t done, std::uint32_t total) {
          desk_.progress(stage, done, total, image_);
        }) {}

  Result<void> all() {
    cache::LadderRequest request;
    request.model = job_.slot->name();
    if (job_.kind == JobKind::generate) {
      request.width_px = job_.request->width_px;
      request.height_px = job_.request->height_px;
    }
    request.cancelled = [this] { return watcher_.cancelled(); };
    cache::LadderOptions allowed;
    if (job_.kind == JobKind::generate) allowed.allow_pixel_changes = job_.request->memory_may_change_pixels;
    cache::MemoryLadder::Climb climb(*desk_.ladder, std::move(request), std::move(allowed), &plan_);
    climb_ = &climb;
    auto done = parts();
    climb_ = nullptr;
    record_.memory_rungs = climb.climbed();
    if (!done) return climb.explained(std::move(done).error());
    climb.succeeded();
    return done;
  }

 private:
  static constexpr std::uint32_t device = 0;  // The CPU.

  Result<void> parts() {
    climb_->at(cache::MemoryStage::loading);
    GF_TRY(const auto model, tried<ModelSlot::Model>("load", [this] { return load(); }));
    if (job_.kind == JobKind::load_ahead) return success();
    using Conditioning = std::shared_ptr<pipeline::BackendConditioning>;
    climb_->at(cache::MemoryStage::encoding);
    GF_TRY(const auto conditioning, tried<Conditioning>("encode", [&] { return encode(*model); }));
    for (image_ = 0; image_ < job_.request->image_count; ++image_) {
      watcher_.making_image(false);
      if (watcher_.cancelled()) return was_cancelled();
      watcher_.making_image(true);
      climb_->at(cache::MemoryStage::sampling);
      GF_TRYV(tried<void>("image", [&] { return make_image(*model, conditioning); }));
    }
    return success();
  }

  /// With a run. Where the limit has fallen below what is held, the model's parts are given back, first those that the
  /// next call does not need, then all; the job goes on when there is room for them again. False: it was cancelled
  /// meanwhile.
  bool make_way() {
    auto& ledger = *desk_.ledger;
    if (ledger.excess(device) == 0) return true;
    plan_.thrift |= GF_BACKEND_THRIFT_PARTS;
    const auto held = ledger.total(device);
    run_->rest(true);
    if (ledger.excess(device) == 0) return true;
    run_->rest(false);
    const auto given = held - std::min(held, ledger.total(device));
    ++record_.pauses;
    const auto begun_us = clock_.now_us();
    JobWaiter waiter(watcher_);
    constexpr std::int64_t nap_us = 2000;
    while (ledger.room(device) < std::max<std::uint64_t>(given, 1) && waiter.wait(nap_us)) {
    }
    record_.paused_us += clock_.now_us() - begun_us;
    return !watcher_.cancelled();
  }

  /// A call that is made again once there is room, where it was refused because the limit fell below what is held.
  template <class T, class Body>
  Result<T> giving_way(Body&& body) {
    constexpr int most_times = 16;
    for (int times = 1;; ++times) {
      Result<T> done = body();
      if (done || !cache::is_shortage(done.error().status) || times == most_times) return done;
      // Before there is a run nothing of the job's is worth keeping: it is refused as any other.
      if (run_ == nullptr || desk_.ledger->excess(device) == 0) return done;
      if (!make_way()) return was_cancelled();
    }
  }

  /// A call of a run, which goes to the handler only once memory has run out: the run stays as it is meanwhile.
  template <class T, class Body>
  Result<T> tried_when_short(std::string_view name, Body&& body) {
    auto done = giving_way<T>(body);
    if (done || !cache::is_shortage(done.error().status)) return done;
    std::optional<Error> first(std::move(done).error());
    return tried<T>(name, [&]() -> Result<T> {
      if (auto error = std::exchange(first, std::nullopt)) return std::move(*error);
      return body();
    });
  }

  /// Runs a part of the job again where what stopped it may be over. An image that was handed out is never made anew.
  template <class T, class Body>
  Result<T> tried(std::string_view name, Body&& body) {
    error::Operation operation;
    operation.name = name;
    operation.limits = {.attempts = 4, .base_us = 20'000, .cap_us = 1'000'000, .asked_cap_us = 10'000'000};
    JobWaiter waiter(watcher_);
    operation.waiter = &waiter;
    return desk_.handler->run<T>(operation, [&](std::uint32_t) -> Result<T> { return giving_way<T>(body); });
  }

  Result<ModelSlot::Model> load() {
    record_.model_was_loaded = job_.slot->is_loaded();
    if (!record_.model_was_loaded) desk_.progress(Stage::loading, 0, 0, 0);
    const auto begun_us = clock_.now_us();
    auto model = job_.slot->acquire([this] { return watcher_.cancelled(); },
                                    [this]() -> Result<std::shared_ptr<pipeline::BackendModel>> {
                                      GF_TRY(const auto backend, desk_.open_backend());
                                      return backend->load(job_.slot->path(), threads_, watcher_);
                                    },
                                    (watcher_.thrift() & GF_BACKEND_THRIFT_PARTS) != 0);
    if (!record_.model_was_loaded) times_.load_us = clock_.now_us() - begun_us;
    desk_.times(times_);
    if (!model) return model;
    auto& backend = (*model.value()).backend();
    record_.model = model.value()->info();
    record_.backend_name = backend.name();
    record_.backend_version = backend.version();
    record_.backend_build = backend.build_json();
    record_.backend_path = backend.library().path();
    return model;
  }

  Result<std::shared_ptr<pipeline::BackendConditioning>> encode(pipeline::BackendModel& model) {
    const auto& wanted = *job_.request;
    gf_backend_encode_request request{};
    request.struct_size = sizeof request;
    request.guidance = wanted.cfg_scale != 1 ? 1 : 0;
    request.prompt = wanted.prompt.c_str();
    const auto optional = [](const std::optional<std::string>& text) { return text ? text->c_str() : nullptr; };
    request.prompt_2 = optional(wanted.prompt_2);
    request.negative_prompt = optional(wanted.negative_prompt);
    request.negative_prompt_2 = optional(wanted.negative_prompt_2);
    request.clip_skip = wanted.clip_skip;
    request.from_image = wanted.init_image ? 1 : 0;
    std::vector<gf_backend_lora> loras;
    for (const auto& lora : wanted.loras) loras.push_back({lora.path.c_str(), lora.scale});
    request.loras = loras.data();
    request.lora_count = static_cast<std::uint32_t>(loras.size());
    request.lora_lenient = wanted.lora_lenient ? 1 : 0;
    // The strings stay where they are: the vectors that hold them are not moved any more.
    const auto prompts = wanted.prompts();
    std::array<std::vector<pipeline::PromptPiece>, prompts.size()> parsed;
    std::array<std::vector<gf_backend_prompt_piece>, prompts.size()> pieces;
    for (std::size_t of = 0; of < prompts.size(); ++of) {
      const auto& [field, text] = prompts[of];
      if (text == nullptr) continue;
      GF_TRY(parsed[of], pipeline::parse_prompt(field, *text, wanted.prompt_syntax));
      for (const auto& piece : parsed[of]) {
        pieces[of].push_back({piece.text.c_str(), piece.weight, piece.starts_chunk ? 1u : 0u, 0});
      }
      request.pieces[of] = pieces[of].data();
      request.piece_counts[of] = static_cast<std::uint32_t>(pieces[of].size());
    }
    request.long_prompt = static_cast<std::uint32_t>(wanted.long_prompt);
    desk_.progress(Stage::encoding, 0, model.info().text_encoders, 0);
    const auto begun_us = clock_.now_us();
    auto conditioning = model.encode(request, threads_, watcher_);
    times_.encode_us = clock_.now_us() - begun_us;
    desk_.times(times_);
    if (conditioning) {
      record_.warnings = conditioning.value()->warnings();
      record_.prompts = conditioning.value()->info();
    }
    return conditioning;
  }

  Result<void> make_image(pipeline::BackendModel& model,
                          const std::shared_ptr<pipeline::BackendConditioning>& conditioning) {
    const auto& wanted = *job_.request;
    gf_backend_run_request request{};
    request.struct_size = sizeof request;
    request.width_px = wanted.width_px;
    request.height_px = wanted.height_px;
    request.steps = wanted.steps;
    request.cfg_scale = wanted.cfg_scale;
    request.guidance_rescale = wanted.guidance_rescale;
    request.seed = wanted.seed_of(image_);
    request.sampler = wanted.sampler.c_str();
    request.schedule = wanted.schedule.empty() ? nullptr : wanted.schedule.c_str();
    if (!wanted.initial_latents.empty()) {
      // with_defaults has compared the count with the model's shape.
      request.initial_latent_count = wanted.initial_latents.size() / wanted.image_count;
      request.initial_latents = wanted.initial_latents.data() + image_ * request.initial_latent_count;
    }
    request.original_width_px = wanted.original_width_px;
    request.original_height_px = wanted.original_height_px;
    request.target_width_px = wanted.target_width_px;
    request.target_height_px = wanted.target_height_px;
    request.crop_left_px = wanted.crop_left_px;
    request.crop_top_px = wanted.crop_top_px;
    request.eta = wanted.eta;
    request.noise = static_cast<std::uint32_t>(wanted.noise);
    request.wrap = (wanted.tile_x ? GF_BACKEND_WRAP_X : 0) | (wanted.tile_y ? GF_BACKEND_WRAP_Y : 0);
    if (wanted.init_image) {
      request.image = wanted.init_image->rgba.data();
      request.strength = wanted.strength;
      if (wanted.mask) request.mask = wanted.mask->data();
    }

    record_.images.resize(image_);  // Without what a try before this one left.
    auto& image_record = record_.images.emplace_back();
    auto begun_us = clock_.now_us();
    GF_TRY(const auto run, model.start(conditioning, request, threads_, watcher_));
    run_ = run.get();
    struct Forgotten {
      pipeline::BackendRun*& run;
      ~Forgotten() { run = nullptr; }
    } const forgotten{run_};
    desk_.progress(Stage::sampling, 0, wanted.steps, image_);
    auto total = wanted.steps;
    for (std::uint32_t remaining = std::numeric_limits<std::uint32_t>::max(); remaining != 0;) {
      if (watcher_.cancelled()) return was_cancelled();
      if (!make_way()) return was_cancelled();
      bool ran_short = false;
      const auto step = [&]() -> Result<std::uint32_t> {
        auto done = run->step(threads_, watcher_);
        if (!done) ran_short = ran_short || cache::is_shortage(done.error().status);
        return done;
      };
      // The steps before it stay, unless the backend had come too far with this one to do it again.
      auto stepped = tried_when_short<std::uint32_t>("step", step);
      if (!stepped && ran_short && stepped.error().status == Status::wrong_state) {
        return Error{Status::out_of_device_memory, "a step ended without memory, and is not to be done again", {}};
      }
      GF_TRY(const auto left, std::move(stepped));
      if (left >= remaining) {
        return Error{
            Status::internal, fmt::format("the backend has {} steps left after one of {}", left, remaining), {}};
      }
      if (image_record.steps == 0) total = left + 1;  // A sampler may take other steps than were asked for.
      remaining = left;
      ++image_record.steps;
      desk_.progress(Stage::sampling, image_record.steps, total, image_);
    }
    image_record.sample_us = clock_.now_us() - begun_us;
    times_.sample_us += image_record.sample_us;
    if (watcher_.cancelled()) return was_cancelled();

    desk_.progress(Stage::decoding, 0, 0, image_);
    begun_us = clock_.now_us();
    auto image = std::make_shared<pipeline::Image>();
    image->width = wanted.width_px;
    image->height = wanted.height_px;
    image->seed = request.seed;
    image->rgba.resize(image->byte_count());
    climb_->at(cache::MemoryStage::decoding);
    // The latents are finished: whatever memory is made now, they are not sampled anew.
    GF_TRYV(tried_when_short<void>("decode", [&] { return run->decode(threads_, watcher_, image->rgba); }));
    image_record.decode_us = clock_.now_us() - begun_us;
    times_.decode_us += image_record.decode_us;
    if (wanted.tile_x || wanted.tile_y) {
      GF_TRY(image_record.seam, pipeline::seam_score(*image));
    }

    std::shared_ptr<std::vector<float>> latents;
    if (wanted.keep_latents) {
      const auto& info = model.info();
      const auto factor = std::max<std::uint32_t>(info.vae_factor, 1);
      latents = std::make_shared<std::vector<float>>(std::size_t{info.latent_channels} * (wanted.height_px / factor) *
                                                     (wanted.width_px / factor));
      GF_TRYV(run->latents(*latents));
    }
    desk_.times(times_);
    desk_.image(std::move(image), std::move(latents));
    return success();
  }

  const Job& job_;
  const Clock& clock_;
  const Desk desk_;
  const std::uint32_t threads_;
  RunRecord& record_;
  StageTimes& times_;
  std::uint32_t image_ = 0;
  cache::MemoryLadder::Climb* climb_ = nullptr;  // While all() runs.
  pipeline::BackendRun* run_ = nullptr;          // While an image is made.
  JobPlan plan_;
  JobWatcher watcher_;
};

/// What a run came to. Its texts are short enough to need no memory where there is none.
Outcome outcome_of(const Job& job, const std::function<Result<void>()>& run) noexcept {
  try {
    auto result = run();
    if (result) return Outcome{JobState::done, {}};
    auto& error = result.error();
    if (error.status != Status::cancelled) return Outcome{JobState::failed, std::move(error)};
    if (job.cancel != CancelWish::none) return Outcome{JobState::cancelled, {}};
    return Outcome{JobState::failed, Error{Status::internal, "the backend gave up as cancelled, but nobody asked", {}}};
  } catch (const std::bad_alloc&) {
    return Outcome{JobState::failed, Error{Status::out_of_host_memory, "out of memory", {}}};
  } catch (const std::exception& caught) {
    try {
      return Outcome{JobState::failed, Error{Status::internal, caught.what(), {}}};
    } catch (...) {
      return Outcome{JobState::failed, Error{Status::out_of_host_memory, "out of memory", {}}};
    }
  } catch (...) {
    return Outcome{JobState::failed, Error{Status::internal, "unknown throw", {}}};
  }
}

}  // namespace

Result<std::shared_ptr<pipeline::Backend>> Engine::State::open_backend() {
  const std::lock_guard lock(backend_mutex);
  if (backend) return backend;
  auto path = options.backend_path.empty() ? pipeline::default_backend_path() : options.backend_path;
  GF_TRY(auto library, pipeline::BackendLibrary::open(path));
  GF_TRY(backend, pipeline::Backend::create(std::move(library), {.log = &log, .ledger = &ledger, .clock = &clock}));
  note(LogLevel::info, [&] { return fmt::format("opened the backend {} ({})", backend->version(), path); });
  return backend;
}

void Engine::State::run_job(const std::shared_ptr<Job>& job, std::uint32_t executor) noexcept {
  StageTimes times;
  times.queue_us = clock.now_us() - job->submitted_us;
  std::shared_ptr<RunRecord> record;
  auto* const crash_note = options.crash_note.get();
  const auto note_memory = [&] {
    if (crash_note == nullptr) return;
    const auto account = ledger.account(0);
    crash_note->set_memory(account.total, account.limit);
  };
  if (crash_note != nullptr) crash_note->job_begun(job->id);
  const auto watch = ledger.begin_watch(0);
  auto outcome = outcome_of(*job, [&]() -> Result<void> {
    if (job->cancel != CancelWish::none) return was_cancelled();  // It waited long enough to be no longer wanted.
    record = std::make_shared<RunRecord>();
    record->threads = options.thread_count;
    record->executor = executor;
    post(job, [&](Mail& mail) {
      mail.started = true;
      mail.times = times;
    });
    Run::Desk desk;
    desk.progress = [&](Stage stage, std::uint32_t step, std::uint32_t total, std::uint32_t image) {
      note_memory();
      post(job, [&](Mail& mail) {
        mail.has_progress = true;
        mail.progress_is_later = !mail.images.empty();
        mail.stage = stage;
        mail.step = step;
        mail.total = total;
        mail.image = image;
      });
    };
    desk.image = [&](std::shared_ptr<const pipeline::Image> image, std::shared_ptr<const std::vector<float>> latents) {
      post(job, [&](Mail& mail) {
        mail.images.push_back(std::move(image));  // Room for all of them was made at submit.
        if (latents) mail.latents.push_back(std::move(latents));
      });
    };
    desk.times = [&](const StageTimes& now) { post(job, [&](Mail& mail) { mail.times = now; }); };
    desk.open_backend = [&]() -> Result<std::shared_ptr<pipeline::Backend>> {
      auto opened = open_backend();
      if (opened) post(job, [&](Mail& mail) { mail.backend = opened.value(); });
      return opened;
    };
    desk.handler = handler.get();
    desk.ladder = ladder.get();
    desk.ledger = &ledger;
    Run run(*job, clock, std::move(desk), options.thread_count, *record, times);
    return run.all();
  });
  const auto watched = watch ? ledger.end_watch(0, *watch) : std::nullopt;
  if (record) {
    // Where every watch is taken it is the peak since the process began, which is no less.
    record->ledger_peak_bytes = watched ? watched->peak : ledger.account(0).peak;
    record->peak_resident_bytes = peak_resident_bytes();
  }
  note_memory();
  if (crash_note != nullptr) crash_note->job_ended(job->id);
  post(job, [&](Mail& mail) {
    mail.times = times;
    mail.record = std::move(record);
    mail.outcome = std::move(outcome);
  });
}

void Engine::State::run_executor(std::uint32_t index) {
  queue::ReserveRequest any_job;
  any_job.timeout_us = std::nullopt;  // Until the queue is closed.
  for (;;) {
    std::optional<queue::Lease> lease;
    try {
      auto reserved = queue->reserve_one(any_job);
      if (!reserved) break;
      lease = std::move(reserved).value();
    } catch (const std::bad_alloc&) {  // Only the words of a refusal take memory.
      if (queue->is_closed()) break;
    }
    if (!lease) continue;
    waiting.fetch_sub(1);
    // Whoever enqueued it hung a Job on it.
    const auto job = std::static_pointer_cast<Job>(lease->attachment);
    monitor->job_began();
    run_job(job, index);
    monitor->job_ended();
    (void)queue->complete(lease->key);
  }
  const std::lock_guard lock(mail_mutex);
  --executors;
  mail_changed.notify_all();
}

}  // namespace gf::engine
