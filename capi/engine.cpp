// Engines at the ABI: options in, events and log lines out.
#include "engine/engine.hpp"

#include "buffers.hpp"
#include "engine_options.hpp"
#include "firewall.hpp"
#include "log_poll.hpp"
#include "objects.hpp"
#include "queue_options.hpp"
#include "structs.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

using gf::Error;
using gf::Result;
using gf::Status;
using gf::engine::Event;
using gf::engine::EventType;
using gf::engine::LogLine;
using gf::engine::Stage;

namespace gf::capi {

EngineTable& engines() {
  static auto& table = *new EngineTable;
  return table;
}

namespace {

// A field was added: see that the struct still has no padding, and keep the first size where it is read.
static_assert(sizeof(gf_engine_options) == 160);
static_assert(sizeof(gf_event) == 72);
constexpr std::size_t first_event_bytes = 72;

static_assert(same(EventType::accepted, GF_EVENT_ACCEPTED) && same(EventType::rejected, GF_EVENT_REJECTED) &&
              same(EventType::started, GF_EVENT_STARTED) && same(EventType::progress, GF_EVENT_PROGRESS) &&
              same(EventType::image, GF_EVENT_IMAGE) && same(EventType::done, GF_EVENT_DONE) &&
              same(EventType::failed, GF_EVENT_FAILED) && same(EventType::cancelled, GF_EVENT_CANCELLED));
static_assert(same(Stage::queued, GF_STAGE_QUEUED) && same(Stage::loading, GF_STAGE_LOADING) &&
              same(Stage::encoding, GF_STAGE_ENCODING) && same(Stage::sampling, GF_STAGE_SAMPLING) &&
              same(Stage::decoding, GF_STAGE_DECODING) && same(Stage::storing, GF_STAGE_STORING));
static_assert(same(LogLevel::off, GF_LOG_OFF) && same(LogLevel::error, GF_LOG_ERROR) &&
              same(LogLevel::warning, GF_LOG_WARNING) && same(LogLevel::info, GF_LOG_INFO) &&
              same(LogLevel::debug, GF_LOG_DEBUG));

gf_event public_event(const Event& event) {
  gf_event out = GF_EVENT_INIT;
  out.type = static_cast<std::uint32_t>(event.type);
  out.job = {event.job.high, event.job.low};
  out.host_tag = event.host_tag;
  out.stage = static_cast<std::uint32_t>(event.stage);
  out.step = event.step;
  out.total = event.total;
  out.image = event.image;
  out.status = static_cast<std::uint32_t>(event.status);
  out.retry_after_us = event.retry_after_us;
  out.at_us = event.at_us;
  return out;
}

}  // namespace

Result<engine::EngineOptions> read_engine_options(const gf_engine_options* given) {
  GF_TRY(const auto read,
         read_options(given, gf_engine_options GF_ENGINE_OPTIONS_INIT, first_engine_options_bytes, "options"));
  engine::EngineOptions options;
  options.executor_count = read.executor_count;
  options.thread_count = read.thread_count;
  options.queue_limit = read.queue_limit;
  options.retained_job_count = read.retained_job_count;
  if (read.log_level > GF_LOG_DEBUG) {
    return Error{Status::unsupported,
                 fmt::format("options->log_level is {}; this version knows 0 to {}", read.log_level,
                             static_cast<std::uint32_t>(GF_LOG_DEBUG)),
                 {}};
  }
  options.log_level = static_cast<LogLevel>(read.log_level);
  GF_TRY(options.allow_model_paths, truth(read.allow_model_paths, "options->allow_model_paths"));
  if (read.model_folder_count > 0 && read.model_folders == nullptr) {
    return Error{
        Status::invalid_argument,
        fmt::format("options->model_folders is NULL, and options->model_folder_count {}", read.model_folder_count),
        {}};
  }
  for (std::uint32_t index = 0; index < read.model_folder_count; ++index) {
    GF_TRY(const auto folder, needed_text(read.model_folders[index], fmt::format("options->model_folders[{}]", index)));
    options.model_folders.emplace_back(folder);
  }
  if (read.backend_path != nullptr) options.backend_path = read.backend_path;
  if (read.event_callback != nullptr) {
    options.event_callback = [call = read.event_callback, user_data = read.event_user_data](const Event& event) {
      const auto out = public_event(event);
      call(user_data, &out);
    };
  }
  if (read.log_callback != nullptr) {
    options.log_callback = [call = read.log_callback, user_data = read.log_user_data](const LogLine& line) {
      const auto out = public_record(line.level, line.unix_us, line.dropped, line.repeated);
      call(user_data, &out, line.module.c_str(), line.message.c_str());
    };
  }
  options.reserved_for_high = read.reserved_for_high;
  options.lanes.user_running_limit = read.user_running_limit;
  options.lanes.normal_max_wait_us = wait_or(read.normal_max_wait_us, options.lanes.normal_max_wait_us);
  options.lanes.low_max_wait_us = wait_or(read.low_max_wait_us, options.lanes.low_max_wait_us);
  options.submit_rates.global = limits_of(read.submit_rate);
  options.submit_rates.per_user = limits_of(read.user_submit_rate);
  GF_TRYV(read_classes(read.user_class_names, read.user_class_rates, read.user_class_count, "options->user_class",
                       options.submit_rates));
  GF_TRY(const auto note, truth(read.keep_crash_note, "options->keep_crash_note"));
  if (note) options.crash_note = shared_crash_note();
  return options;
}

}  // namespace gf::capi

using namespace gf::capi;

extern "C" {

gf_status gf_engine_open(const gf_engine_options* options, gf_engine** out_engine) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_engine, "out_engine"));
    GF_TRY(auto read, read_engine_options(options));
    GF_TRY(auto engine, gf::engine::Engine::open(std::move(read)));
    *out_engine = engines().insert(std::move(engine));
    return gf::success();
  });
}

gf_status gf_engine_close(gf_engine* engine, int64_t timeout_us) {
  return firewall([&]() -> Result<void> {
    if (engine == nullptr) return gf::success();
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    // The handle stays until the engine has answered, since some answers leave it open; meanwhile the engine itself
    // refuses what comes in.
    auto closed = found->close(timeout_us);
    if (!closed) {
      const auto status = closed.error().status;
      if (status == Status::wrong_state || status == Status::invalid_argument) return closed;
    }
    if (!engines().take(engine)) return no_handle(engine, "engine");
    return closed;
  });
}

gf_status gf_engine_poll(gf_engine* engine, gf_event* out_event) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRYV(check_out(out_event, first_event_bytes, "out_event"));
    const auto event = found->poll_event();
    if (!event) return Error{Status::would_block, "there is no event now", {}};
    write_out(out_event, public_event(*event));
    return gf::success();
  });
}

gf_status gf_engine_wait_event(gf_engine* engine, int64_t timeout_us, gf_event* out_event) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRYV(check_out(out_event, first_event_bytes, "out_event"));
    GF_TRY(const auto event, found->wait_event(timeout_us));
    if (!event) return Error{Status::timed_out, fmt::format("no event came within {} us", timeout_us), {}};
    write_out(out_event, public_event(*event));
    return gf::success();
  });
}

gf_status gf_engine_poll_log(gf_engine* engine, gf_log_record* out_record, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    return poll_line(out_record, buffer, size, [&](const auto& take) {
      return found->poll_log([&take](const LogLine& line) {
        return take(public_record(line.level, line.unix_us, line.dropped, line.repeated), true, line.module,
                    line.message);
      });
    });
  });
}

gf_status gf_engine_statistics_json(gf_engine* engine, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    return give_text(found->statistics_json(), buffer, size);
  });
}

}  // extern "C"
