// Requests and jobs at the ABI.
#include "base/ids.hpp"
#include "buffers.hpp"
#include "engine/engine.hpp"
#include "firewall.hpp"
#include "objects.hpp"
#include "pipeline/request.hpp"
#include "queue_options.hpp"
#include "structs.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

using gf::Error;
using gf::JobId;
using gf::Result;
using gf::Status;
using gf::engine::CancelMode;
using gf::engine::JobInfo;
using gf::engine::JobState;
using namespace gf::capi;

namespace {

// A field was added: see that the struct still has no padding, and keep the first size where it is read.
static_assert(sizeof(gf_job_id) == 16);
static_assert(sizeof(gf_request) == 256);
static_assert(sizeof(gf_job_info) == 104);
constexpr std::size_t first_request_bytes = 152;
constexpr std::size_t first_info_bytes = 104;

constexpr std::uint32_t known_flags =
    GF_REQUEST_RANDOM_SEED | GF_REQUEST_KEEP_LATENTS | GF_REQUEST_LENIENT_LORA | GF_REQUEST_MEMORY_MAY_CHANGE_PIXELS;

static_assert(same(JobState::submitted, GF_JOB_SUBMITTED) && same(JobState::queued, GF_JOB_QUEUED) &&
              same(JobState::running, GF_JOB_RUNNING) && same(JobState::done, GF_JOB_DONE) &&
              same(JobState::failed, GF_JOB_FAILED) && same(JobState::cancelled, GF_JOB_CANCELLED) &&
              same(JobState::rejected, GF_JOB_REJECTED));
static_assert(same(CancelMode::now, GF_CANCEL_NOW) && same(CancelMode::after_image, GF_CANCEL_AFTER_IMAGE));

std::optional<std::string_view> optional_text(const char* text) {
  if (text == nullptr) return std::nullopt;
  return std::string_view(text);
}

/// The caller's texts and latents, borrowed.
struct Submission {
  gf::pipeline::RequestDraft draft;
  gf::engine::Queueing queueing;
};

Result<Submission> read_request(const gf_request* given) {
  if (given == nullptr) return Error{Status::invalid_argument, "request is NULL", {}};
  GF_TRY(const auto read, read_options(given, gf_request GF_REQUEST_INIT, first_request_bytes, "request"));
  if ((read.flags & ~known_flags) != 0) {
    return Error{Status::unsupported,
                 fmt::format("request->flags is {:#x}; this version knows {:#x}", read.flags, known_flags),
                 {}};
  }
  Submission submission;
  auto& draft = submission.draft;
  draft.random_seed = (read.flags & GF_REQUEST_RANDOM_SEED) != 0;
  draft.keep_latents = (read.flags & GF_REQUEST_KEEP_LATENTS) != 0;
  draft.width_px = read.width_px;
  draft.height_px = read.height_px;
  draft.steps = read.steps;
  draft.image_count = read.image_count;
  draft.cfg_scale = read.cfg_scale;
  draft.guidance_rescale = read.guidance_rescale;
  draft.seed = read.seed;
  draft.host_tag = read.host_tag;
  draft.model = optional_text(read.model);
  draft.prompt = optional_text(read.prompt);
  draft.prompt_2 = optional_text(read.prompt_2);
  draft.negative_prompt = optional_text(read.negative_prompt);
  draft.negative_prompt_2 = optional_text(read.negative_prompt_2);
  draft.sampler = optional_text(read.sampler);
  draft.schedule = optional_text(read.schedule);
  draft.initial_latents = read.initial_latents;
  draft.initial_latent_count = read.initial_latent_count;
  draft.original_width_px = read.original_width_px;
  draft.original_height_px = read.original_height_px;
  draft.target_width_px = read.target_width_px;
  draft.target_height_px = read.target_height_px;
  draft.crop_left_px = read.crop_left_px;
  draft.crop_top_px = read.crop_top_px;
  draft.lora_lenient = (read.flags & GF_REQUEST_LENIENT_LORA) != 0;
  draft.memory_may_change_pixels = (read.flags & GF_REQUEST_MEMORY_MAY_CHANGE_PIXELS) != 0;
  if (read.lora_count > gf::pipeline::max_loras) {
    return Error{
        Status::invalid_argument,
        fmt::format("request->lora_count is {}; at most {} are taken", read.lora_count, gf::pipeline::max_loras),
        {}};
  }
  if (read.lora_count != 0 && read.lora_names == nullptr) {
    return Error{Status::invalid_argument,
                 fmt::format("request->lora_count is {}, but lora_names is NULL", read.lora_count),
                 {}};
  }
  for (std::uint32_t index = 0; index < read.lora_count; ++index) {
    const double scale = read.lora_scales == nullptr ? 1 : read.lora_scales[index];
    draft.loras.emplace_back(optional_text(read.lora_names[index]), scale);
  }
  draft.clip_skip = read.clip_skip;
  draft.prompt_syntax = read.prompt_syntax;
  draft.long_prompt = read.long_prompt;
  draft.tile = read.tile;
  if (read.reserved != 0) return unknown_value("request->reserved", read.reserved, 0, 0);
  draft.eta = read.eta;
  draft.strength = read.strength;
  draft.noise = read.noise;
  if (read.init_image != nullptr) {
    GF_TRY(draft.init_image, find(images(), read.init_image, "request->init_image"));
  }
  if (read.mask != nullptr) {
    GF_TRY(draft.mask, find(images(), read.mask, "request->mask"));
  }
  auto& queueing = submission.queueing;
  GF_TRY(queueing.priority, read_priority(read.priority, "request->priority"));
  queueing.user = optional_text(read.user).value_or("");
  queueing.user_class = optional_text(read.user_class).value_or("");
  queueing.idempotency_key = optional_text(read.idempotency_key).value_or("");
  return submission;
}

Result<JobId> read_id(const gf_job_id* job) {
  if (job == nullptr) return Error{Status::invalid_argument, "job is NULL", {}};
  return JobId{job->high, job->low};
}

gf_job_info public_info(const JobInfo& info) {
  gf_job_info out = GF_JOB_INFO_INIT;
  out.state = static_cast<std::uint32_t>(info.state);
  out.status = static_cast<std::uint32_t>(info.status);
  out.stage = static_cast<std::uint32_t>(info.stage);
  out.step = info.step;
  out.total = info.total;
  out.images_ready = info.images_ready;
  out.image_count = info.image_count;
  out.width_px = info.width_px;
  out.height_px = info.height_px;
  out.seed = info.seed;
  out.host_tag = info.host_tag;
  out.queue_us = info.queue_us;
  out.load_us = info.load_us;
  out.encode_us = info.encode_us;
  out.sample_us = info.sample_us;
  out.decode_us = info.decode_us;
  out.total_us = info.total_us;
  return out;
}

}  // namespace

extern "C" {

gf_status gf_engine_submit(gf_engine* engine, const gf_request* request, gf_job_id* out_job) {
  return firewall([&]() -> Result<void> {
    if (out_job == nullptr) return Error{Status::invalid_argument, "out_job is NULL", {}};
    *out_job = {0, 0};
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto submission, read_request(request));
    GF_TRY(const auto id, found->submit(submission.draft, submission.queueing));
    *out_job = {id.high, id.low};
    return gf::success();
  });
}

gf_status gf_job_status(gf_engine* engine, const gf_job_id* job, gf_job_info* out_info) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto id, read_id(job));
    GF_TRYV(check_out(out_info, first_info_bytes, "out_info"));
    GF_TRY(const auto info, found->job_info(id));
    write_out(out_info, public_info(info));
    return gf::success();
  });
}

gf_status gf_job_wait(gf_engine* engine, const gf_job_id* job, int64_t timeout_us, gf_job_info* out_info) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto id, read_id(job));
    if (out_info != nullptr) {
      GF_TRYV(check_out(out_info, first_info_bytes, "out_info"));
    }
    GF_TRY(const auto answer, found->job_wait(id, timeout_us));
    if (out_info != nullptr) write_out(out_info, public_info(answer.info));
    if (answer.over) return gf::success();
    return Error{Status::timed_out, fmt::format("job {} is not over after {} us", gf::to_text(id), timeout_us), {}};
  });
}

gf_status gf_job_cancel(gf_engine* engine, const gf_job_id* job, uint32_t mode) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto id, read_id(job));
    if (mode > GF_CANCEL_AFTER_IMAGE) {
      return Error{Status::unsupported, fmt::format("mode is {}; this version knows 0 and 1", mode), {}};
    }
    return found->job_cancel(id, static_cast<CancelMode>(mode));
  });
}

gf_status gf_job_error_json(gf_engine* engine, const gf_job_id* job, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto id, read_id(job));
    GF_TRY(const auto error, found->job_error(id));
    return give_text(error ? error_json(*error) : "{}", buffer, size);
  });
}

gf_status gf_job_report_json(gf_engine* engine, const gf_job_id* job, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto id, read_id(job));
    GF_TRY(const auto report, found->job_report_json(id));
    return give_text(report, buffer, size);
  });
}

gf_status gf_job_latents(gf_engine* engine, const gf_job_id* job, uint32_t index, float* buffer, uint64_t* count) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(count, "count"));
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto id, read_id(job));
    GF_TRY(const auto latents, found->job_latents(id, index));
    return fill_buffer(latents->size(), buffer, count, "values",
                       [&](float* to) { std::memcpy(to, latents->data(), latents->size() * sizeof(float)); });
  });
}

gf_status gf_job_forget(gf_engine* engine, const gf_job_id* job) {
  return firewall([&]() -> Result<void> {
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto id, read_id(job));
    return found->forget_job(id);
  });
}

gf_status gf_job_id_text(const gf_job_id* job, char* buffer, uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto id, read_id(job));
    return give_text(gf::to_text(id), buffer, size);
  });
}

gf_status gf_job_id_parse(const char* text, gf_job_id* out_job) {
  return firewall([&]() -> Result<void> {
    if (out_job == nullptr) return Error{Status::invalid_argument, "out_job is NULL", {}};
    *out_job = {0, 0};
    GF_TRY(const auto digits, needed_text(text, "text"));
    GF_TRY(const auto id, gf::parse_job_id(digits));
    *out_job = {id.high, id.low};
    return gf::success();
  });
}

gf_status gf_job_image(gf_engine* engine, const gf_job_id* job, uint32_t index, gf_image** out_image) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(clear_out(out_image, "out_image"));
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto id, read_id(job));
    GF_TRY(auto image, found->job_image(id, index));
    *out_image = images().insert(std::move(image));
    return gf::success();
  });
}

gf_status gf_job_parameters_text(gf_engine* engine, const gf_job_id* job, uint32_t index, char* buffer,
                                 uint64_t* size) {
  return firewall([&]() -> Result<void> {
    GF_TRYV(check_size(size));
    GF_TRY(const auto found, find(engines(), engine, "engine"));
    GF_TRY(const auto id, read_id(job));
    GF_TRY(const auto text, found->job_parameters_text(id, index));
    return give_text(text, buffer, size);
  });
}

}  // extern "C"
