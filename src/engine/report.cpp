// Texts about jobs: the report, the error object, the recipe of an image.
#include "base/error_json.hpp"
#include "base/json_text.hpp"
#include "engine/state.hpp"
#include "pipeline/parameters_text.hpp"
#include "pipeline/samplers.hpp"

#include <fmt/format.h>

#include <string>
#include <utility>

namespace gf::engine {
namespace {

std::string_view name_of(pipeline::LongPrompt what) {
  switch (what) {
    case pipeline::LongPrompt::cut:
      return "cut";
    case pipeline::LongPrompt::refuse:
      return "refuse";
    case pipeline::LongPrompt::chunks:
      break;
  }
  return "chunks";
}

/// The axes that a picture is to be tiled along; "" for none.
std::string tile_text(const pipeline::Request& request) {
  return std::string(request.tile_x ? "x" : "") + (request.tile_y ? "y" : "");
}

void write_request(JsonText& out, const JobSnapshot& job) {
  const auto& request = *job.request;
  out.begin_object().member("model", request.model);
  if (job.kind == JobKind::load_ahead) {
    out.end_object();
    return;
  }
  const auto size_or = [](std::uint32_t px, std::uint32_t otherwise) { return px != 0 ? px : otherwise; };
  out.member("prompt", request.prompt).member("prompt_2", request.prompt_2);
  out.member("negative_prompt", request.negative_prompt).member("negative_prompt_2", request.negative_prompt_2);
  out.member("width_px", request.width_px).member("height_px", request.height_px).member("steps", request.steps);
  out.member("cfg_scale", request.cfg_scale).member("guidance_rescale", request.guidance_rescale);
  out.member("seed", request.seed).member("image_count", request.image_count);
  out.text_or_null("sampler", request.sampler).text_or_null("schedule", request.schedule);
  out.member("initial_latent_count", job.initial_latent_count).member("keep_latents", request.keep_latents);
  out.member("original_width_px", size_or(request.original_width_px, request.width_px));
  out.member("original_height_px", size_or(request.original_height_px, request.height_px));
  out.member("target_width_px", size_or(request.target_width_px, request.width_px));
  out.member("target_height_px", size_or(request.target_height_px, request.height_px));
  out.member("crop_left_px", request.crop_left_px).member("crop_top_px", request.crop_top_px);
  out.key("loras").begin_array();
  for (const auto& lora : request.loras) {
    out.begin_object().member("name", lora.name).member("scale", lora.scale).text_or_null("path", lora.path);
    out.end_object();
  }
  out.end_array().member("clip_skip", request.clip_skip).member("eta", request.eta);
  out.member("prompt_syntax", request.prompt_syntax == pipeline::PromptSyntax::plain ? "plain" : "weighted");
  out.member("long_prompt", name_of(request.long_prompt));
  out.text_or_null("tile", tile_text(request));
  out.member("noise", request.noise == pipeline::NoiseKind::philox ? "philox" : "torch_cpu");
  out.key("strength");
  if (request.init_image) {
    out.number(request.strength);
  } else {
    out.null();
  }
  out.member("has_mask", request.mask != nullptr).end_object();
}

void write_model(JsonText& out, const JobSnapshot& job) {
  if (!job.model) {
    out.null();
    return;
  }
  const auto* loaded = job.record && job.record->model ? &*job.record->model : nullptr;
  std::string_view family = job.model->family;
  std::string_view prediction = job.model->prediction;
  if (loaded != nullptr && loaded->family[0] != '\0') family = loaded->family;
  if (loaded != nullptr && loaded->prediction[0] != '\0') prediction = loaded->prediction;
  out.begin_object().member("name", job.model->name).member("path", job.model->path).member("family", family);
  out.member("pipeline", job.model->pipeline).member("prediction", prediction);
  if (loaded != nullptr) {
    out.member("parameters", loaded->parameters).member("weight_bytes", loaded->weight_bytes);
    out.member("file_bytes", loaded->file_bytes).member("was_loaded", job.record->model_was_loaded);
  }
  out.end_object();
}

void write_backend(JsonText& out, const RunRecord& record) {
  out.begin_object().member("name", record.backend_name).member("version", record.backend_version);
  out.member("path", record.backend_path);
  // Backend::build_json() has parsed it.
  out.key("build").json(record.backend_build.empty() ? "{}" : record.backend_build).end_object();
}

/// Token counts, by the text encoder that has most.
void write_prompts(JsonText& out, const JobSnapshot& job) {
  if (!job.record || !job.record->prompts) {
    out.null();
    return;
  }
  const auto& read = *job.record->prompts;
  out.begin_object().member("tokens", read.prompt_tokens).member("chunks", read.prompt_chunks);
  out.member("cut_tokens", read.prompt_cut_tokens).member("negative_tokens", read.negative_tokens);
  out.member("negative_chunks", read.negative_chunks).member("negative_cut_tokens", read.negative_cut_tokens);
  out.end_object();
}

void write_images(JsonText& out, const JobSnapshot& job) {
  out.key("images").begin_array();
  if (job.record) {
    std::uint32_t index = 0;
    for (const auto& image : job.record->images) {
      out.begin_object().member("index", index).member("seed", job.request->seed_of(index));
      out.member("steps", image.steps).member("sample_us", image.sample_us).member("decode_us", image.decode_us);
      out.key("seam");
      if (image.seam) {
        out.begin_object().member("x", image.seam->x.score).member("y", image.seam->y.score).end_object();
      } else {
        out.null();
      }
      out.end_object();
      ++index;
    }
  }
  out.end_array();
}

void write_warnings(JsonText& out, const JobSnapshot& job) {
  out.key("warnings").begin_array();
  if (job.model) {
    for (const auto& warning : job.model->warnings) out.text(warning);
  }
  for (const auto& warning : job.warnings) out.text(warning);
  if (job.record) {
    for (const auto& warning : job.record->warnings) out.text(warning);
  }
  out.end_array();
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

std::string report_json(const JobSnapshot& job) {
  const auto& info = job.info;
  const auto* record = job.record.get();
  JsonText out;
  out.begin_object().member("job", to_text(job.id));
  out.member("kind", job.kind == JobKind::generate ? "generate" : "load_ahead").member("state", name_of(info.state));
  out.member("status", static_cast<std::int32_t>(info.status)).member("host_tag", info.host_tag);
  out.member("priority", queue::name_of(job.priority)).text_or_null("user", job.user);
  out.key("request");
  write_request(out, job);
  out.key("model");
  write_model(out, job);
  out.key("library").begin_object().member("name", "gameforge").member("version", GAMEFORGE_VERSION).end_object();
  out.key("backend");
  if (record != nullptr && !record->backend_name.empty()) {
    write_backend(out, *record);
  } else {
    out.null();
  }
  out.key("times_us").begin_object().member("queue", info.queue_us).member("load", info.load_us);
  out.member("encode", info.encode_us).member("sample", info.sample_us).member("decode", info.decode_us);
  out.member("total", info.total_us).end_object();
  out.member("images_ready", info.images_ready);
  out.key("prompts");
  write_prompts(out, job);
  write_images(out, job);
  if (record != nullptr) {
    out.member("threads", record->threads).member("executor", record->executor);
    // The ledger's peak is the device's while the job ran, the other the process's since its start: engines and jobs
    // share its memory.
    out.key("memory").begin_object().member("ledger_peak_bytes", record->ledger_peak_bytes);
    out.member("peak_resident_bytes", record->peak_resident_bytes).key("rungs").begin_array();
    for (const auto& rung : record->memory_rungs) out.text(rung);
    out.end_array().member("pauses", record->pauses).member("paused_us", record->paused_us).end_object();
  } else {
    out.key("threads").null().key("memory").null();
  }
  write_warnings(out, job);
  out.key("error");
  if (job.error) {
    write_error(out, *job.error);
  } else {
    out.null();
  }
  out.end_object();
  return std::move(out).str();
}

std::string parameters_text(const JobSnapshot& job, std::uint32_t image) {
  const auto& request = *job.request;
  pipeline::ParametersText text;
  text.prompt = request.prompt_as_given.empty() ? request.prompt : request.prompt_as_given;
  // Readers of other programs know LoRA files by their tags alone: those that came beside the prompt get one.
  for (const auto& lora : request.loras) {
    if (text.prompt.find("<lora:" + lora.name) != std::string::npos) continue;
    text.prompt += fmt::format("{}<lora:{}:{}>", text.prompt.empty() ? "" : " ", lora.name, lora.scale);
  }
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
  // webui counts from the last layer, which it calls 1.
  if (request.clip_skip != 0) text.extra.emplace_back("Clip skip", std::to_string(request.clip_skip + 1));
  if (request.prompt_syntax == pipeline::PromptSyntax::plain) text.extra.emplace_back("Prompt syntax", "plain");
  if (request.long_prompt != pipeline::LongPrompt::chunks) {
    text.extra.emplace_back("Long prompt", std::string(name_of(request.long_prompt)));
  }
  // As webui writes it where both axes are.
  if (request.tile_x || request.tile_y) {
    text.extra.emplace_back("Tiling", request.tile_x && request.tile_y ? "True" : tile_text(request));
  }
  if (request.eta != 0) text.extra.emplace_back("Eta", fmt::format("{}", request.eta));
  if (request.init_image) text.extra.emplace_back("Denoising strength", fmt::format("{}", request.strength));
  if (request.noise == pipeline::NoiseKind::philox) text.extra.emplace_back("RNG", "NV");
  if (job.initial_latent_count != 0) text.extra.emplace_back("Initial latents", "given");
  text.version = GAMEFORGE_VERSION;
  return pipeline::to_text(text);
}

}  // namespace gf::engine
