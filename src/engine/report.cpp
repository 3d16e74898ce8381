// Texts about jobs: the report, the error object, the recipe of an image.
#include "base/json.hpp"
#include "engine/state.hpp"
#include "pipeline/parameters_text.hpp"
#include "pipeline/samplers.hpp"

#include <fmt/format.h>

namespace gf::engine {
namespace {

template <class Text>
Json or_null(const std::optional<Text>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json text_or_null(std::string_view text) { return text.empty() ? Json(nullptr) : Json(text); }

std::string_view status_name(Status status) {
  const auto* entry = find_status(static_cast<std::int32_t>(status));
  return entry == nullptr ? "unknown" : entry->name;
}

Json request_json(const JobSnapshot& job) {
  const auto& request = *job.request;
  Json out = {{"model", request.model}};
  if (job.kind == JobKind::load_ahead) return out;
  const auto size_or = [](std::uint32_t px, std::uint32_t otherwise) { return px != 0 ? px : otherwise; };
  out.update({{"prompt", request.prompt},
              {"prompt_2", or_null(request.prompt_2)},
              {"negative_prompt", or_null(request.negative_prompt)},
              {"negative_prompt_2", or_null(request.negative_prompt_2)},
              {"width_px", request.width_px},
              {"height_px", request.height_px},
              {"steps", request.steps},
              {"cfg_scale", request.cfg_scale},
              {"guidance_rescale", request.guidance_rescale},
              {"seed", request.seed},
              {"image_count", request.image_count},
              {"sampler", text_or_null(request.sampler)},
              {"schedule", text_or_null(request.schedule)},
              {"initial_latent_count", job.initial_latent_count},
              {"keep_latents", request.keep_latents},
              {"original_width_px", size_or(request.original_width_px, request.width_px)},
              {"original_height_px", size_or(request.original_height_px, request.height_px)},
              {"target_width_px", size_or(request.target_width_px, request.width_px)},
              {"target_height_px", size_or(request.target_height_px, request.height_px)},
              {"crop_left_px", request.crop_left_px},
              {"crop_top_px", request.crop_top_px}});
  return out;
}

Json model_json(const JobSnapshot& job) {
  if (!job.model) return nullptr;
  Json out = {{"name", job.model->name},
              {"path", job.model->path},
              {"family", job.model->family},
              {"pipeline", job.model->pipeline},
              {"prediction", job.model->prediction}};
  if (job.record && job.record->model) {
    const auto& info = *job.record->model;
    if (info.family[0] != '\0') out["family"] = info.family;
    if (info.prediction[0] != '\0') out["prediction"] = info.prediction;
    out["parameters"] = info.parameters;
    out["weight_bytes"] = info.weight_bytes;
    out["file_bytes"] = info.file_bytes;
    out["was_loaded"] = job.record->model_was_loaded;
  }
  return out;
}

}  // namespace

std::string_view name_of(JobState state) {
  switch (state) {
    case JobState::submitted:
      return "submitted";
    case JobState::queued:
      return "queued";
    case JobState::running:
      return "running";
    case JobState::done:
      return "done";
    case JobState::failed:
      return "failed";
    case JobState::cancelled:
      return "cancelled";
    case JobState::rejected:
      return "rejected";
  }
  return "unknown";
}

Json to_json(const Error& error) {
  Json causes = Json::array();
  for (const auto& cause : error.causes) {
    causes.push_back({{"status", static_cast<std::int32_t>(cause.status)},
                      {"name", status_name(cause.status)},
                      {"message", cause.message}});
  }
  const auto* entry = find_status(static_cast<std::int32_t>(error.status));
  return {{"status", static_cast<std::int32_t>(error.status)},
          {"name", status_name(error.status)},
          {"message", error.message},
          {"causes", std::move(causes)},
          {"retryable", entry != nullptr && entry->retryable},
          {"hint", entry == nullptr ? std::string_view{} : entry->hint}};
}

std::string report_json(const JobSnapshot& job) {
  const auto& info = job.info;
  Json out = {{"job", to_text(job.id)},
              {"kind", job.kind == JobKind::generate ? "generate" : "load_ahead"},
              {"state", name_of(info.state)},
              {"status", static_cast<std::int32_t>(info.status)},
              {"host_tag", info.host_tag},
              {"request", request_json(job)},
              {"model", model_json(job)},
              {"library", {{"name", "gameforge"}, {"version", GAMEFORGE_VERSION}}},
              {"backend", nullptr},
              {"times_us",
               {{"queue", info.queue_us},
                {"load", info.load_us},
                {"encode", info.encode_us},
                {"sample", info.sample_us},
                {"decode", info.decode_us},
                {"total", info.total_us}}},
              {"images_ready", info.images_ready},
              {"images", Json::array()},
              {"threads", nullptr},
              {"memory", nullptr}};
  Json warnings = Json::array();
  if (job.model) {
    for (const auto& warning : job.model->warnings) warnings.push_back(warning);
  }
  for (const auto& warning : job.warnings) warnings.push_back(warning);
  if (const auto* record = job.record.get()) {
    if (!record->backend_name.empty()) {
      auto build = parse_json(record->backend_build, "build_json");
      out["backend"] = {{"name", record->backend_name},
                        {"version", record->backend_version},
                        {"path", record->backend_path},
                        {"build", build ? std::move(build).value() : Json(nullptr)}};
    }
    for (std::size_t index = 0; index < record->images.size(); ++index) {
      const auto& image = record->images[index];
      out["images"].push_back({{"index", index},
                               {"seed", job.request->seed_of(static_cast<std::uint32_t>(index))},
                               {"steps", image.steps},
                               {"sample_us", image.sample_us},
                               {"decode_us", image.decode_us}});
    }
    out["threads"] = record->threads;
    out["executor"] = record->executor;
    // Both peaks are the process's since its start: engines and jobs share its memory.
    out["memory"] = {{"ledger_peak_bytes", record->ledger_peak_bytes},
                     {"peak_resident_bytes", record->peak_resident_bytes}};
    for (const auto& warning : record->warnings) warnings.push_back(warning);
  }
  out["warnings"] = std::move(warnings);
  out["error"] = job.error ? to_json(*job.error) : Json(nullptr);
  return to_text(out);
}

std::string parameters_text(const JobSnapshot& job, std::uint32_t image) {
  const auto& request = *job.request;
  pipeline::ParametersText text;
  text.prompt = request.prompt;
  text.negative_prompt = request.negative_prompt.value_or("");
  text.steps = request.steps;
  text.sampler = request.sampler;
  text.schedule = request.schedule;
  text.cfg_scale = request.cfg_scale;
  text.seed = request.seed_of(image);
  text.width_px = request.width_px;
  text.height_px = request.height_px;
  text.model = job.model ? job.model->name : request.model;
  if (request.prompt_2) text.extra.emplace_back("Prompt 2", *request.prompt_2);
  if (request.negative_prompt_2) text.extra.emplace_back("Negative prompt 2", *request.negative_prompt_2);
  if (request.guidance_rescale != 0)
    text.extra.emplace_back("CFG rescale", fmt::format("{}", request.guidance_rescale));
  if (job.initial_latent_count != 0) text.extra.emplace_back("Initial latents", "given");
  text.version = GAMEFORGE_VERSION;
  return pipeline::to_text(text);
}

}  // namespace gf::engine
