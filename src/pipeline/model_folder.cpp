#include "pipeline/model_folder.hpp"

#include "base/json.hpp"
#include "base/utf8.hpp"
#include "pipeline/checkpoint.hpp"
#include "pipeline/request.hpp"
#include "pipeline/samplers.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <utility>

#include <limits.h>
#include <stdlib.h>

namespace gf::pipeline {
namespace {

// Configs of published models have at most 100 KB.
constexpr std::uint64_t config_limit_bytes = 4 << 20;
// Values that a config may have: far above every published one, and small enough that nothing overflows.
constexpr std::uint64_t most_levels = 8;
constexpr std::uint64_t most_channels = 1 << 16;
constexpr std::uint64_t longest_sample_side = 1 << 14;

constexpr std::uint32_t fallback_steps = 20;
constexpr double fallback_cfg_scale = 7;

/// A kind of pipeline that is built, and the folders that it needs. Later ones are rows.
struct Family {
  std::string_view pipeline;
  std::string_view family;
  std::span<const std::string_view> parts;
};
constexpr std::array<std::string_view, 7> sdxl_parts = {
    "scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "vae"};
constexpr std::array<std::string_view, 5> sd_parts = {"scheduler", "text_encoder", "tokenizer", "unet", "vae"};
constexpr std::array families = {
    Family{"StableDiffusionXLPipeline", "sdxl", sdxl_parts},
    Family{"StableDiffusionPipeline", "sd", sd_parts},
};

Error corrupt(std::string_view path, std::string_view what) {
  return Error{Status::corrupt_file, fmt::format("{}: {}", path, what), {}};
}

/// A value as its file has it, on one line and cut where it is long; in ASCII, so that it can be cut anywhere.
std::string written(const Json& value) {
  constexpr std::size_t longest = 80;
  auto text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > longest) text.replace(longest, std::string::npos, "...");
  return text;
}

/// A config being read: a document with the path that messages begin with.
struct Document {
  std::string path;
  JsonDocument root;

  const Json& json() const { return *root; }
};

/// Reads a small JSON file and notes its stamp.
Result<Document> read_document(const std::string& path, std::map<std::string, FileStamp>& stamps) {
  GF_TRY(const auto file, open_model_file(path, stamps[path]));
  GF_TRY(const auto text, read_text(*file, config_limit_bytes));
  GF_TRY(auto json, parse_json(text, path));
  if (!json->is_object()) return corrupt(path, "it is not a JSON object");
  return Document{path, std::move(json)};
}

/// A whole number of a range; `fallback` where the key is missing or null.
Result<std::uint64_t> whole(const Document& document, const Json& object, const char* key, std::uint64_t low,
                            std::uint64_t high, std::uint64_t fallback) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return fallback;
  if (!found->is_number_unsigned() || found->get<std::uint64_t>() < low || found->get<std::uint64_t>() > high) {
    return corrupt(document.path,
                   fmt::format("{} is {}; it must be a whole number from {} to {}", key, written(*found), low, high));
  }
  return found->get<std::uint64_t>();
}

Result<double> real(const Document& document, const Json& object, const char* key, double low, double high) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return 0.0;
  if (!found->is_number() || !(found->get<double>() >= low && found->get<double>() <= high)) {
    return corrupt(document.path,
                   fmt::format("{} is {}; it must be a number from {} to {}", key, written(*found), low, high));
  }
  return found->get<double>();
}

Result<std::string> text(const Document& document, const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return std::string{};
  if (!found->is_string()) {
    return corrupt(document.path, fmt::format("{} is {}; it must be text", key, written(*found)));
  }
  return found->get<std::string>();
}

/// The levels of a network, from its block_out_channels.
Result<std::uint64_t> levels_of(const Document& document) {
  const auto found = document.json().find("block_out_channels");
  if (found == document.json().end()) return corrupt(document.path, "it lacks block_out_channels");
  if (!found->is_array() || found->empty() || found->size() > most_levels) {
    return corrupt(document.path, fmt::format("block_out_channels is {}; it must be a list of 1 to {} whole numbers",
                                              written(*found), most_levels));
  }
  for (const auto& channels : *found) {
    if (!channels.is_number_unsigned() || channels.get<std::uint64_t>() < 1 ||
        channels.get<std::uint64_t>() > most_channels) {
      return corrupt(document.path, fmt::format("block_out_channels holds {}; it must hold whole numbers from 1 to {}",
                                                written(channels), most_channels));
    }
  }
  return found->size();
}

/// A part's name becomes a path, so it must not lead anywhere else.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find_first_of("/\\") == std::string_view::npos &&
         name.find('\0') == std::string_view::npos;
}

Result<void> read_index(const Document& index, ModelDescription& model) {
  GF_TRY(model.pipeline, text(index, index.json(), "_class_name"));
  if (model.pipeline.empty()) return corrupt(index.path, "it lacks _class_name");
  for (const auto& [key, value] : index.json().items()) {
    if (key.starts_with('_')) continue;
    if (!is_plain_name(key)) {
      return corrupt(index.path, fmt::format("the part {} is no name of a folder inside the model", shown(key)));
    }
    if (!value.is_array()) continue;  // An option of the pipeline, such as force_zeros_for_empty_prompt.
    if (value.size() != 2 || !(value[0].is_string() || value[0].is_null()) ||
        !(value[1].is_string() || value[1].is_null())) {
      return corrupt(index.path, fmt::format("{} is {}; it must be a pair of library and class", key, written(value)));
    }
    if (value[0].is_null() || value[1].is_null()) continue;
    model.parts.push_back({key, value[0].get<std::string>(), value[1].get<std::string>()});
  }
  const auto family = std::ranges::find(families, model.pipeline, &Family::pipeline);
  if (family == families.end()) {
    std::vector<std::string_view> known;
    known.reserve(std::size(families));
    for (const auto& row : families) known.push_back(row.pipeline);
    return Error{Status::unsupported_format,
                 fmt::format("{}: the pipeline {} is not supported; supported are {}", index.path,
                             shown(model.pipeline), fmt::join(known, ", ")),
                 {}};
  }
  model.family = family->family;
  std::vector<std::string_view> missing;
  for (const auto part : family->parts) {
    if (std::ranges::find(model.parts, part, &ModelPart::name) == model.parts.end()) missing.push_back(part);
  }
  if (!missing.empty()) return corrupt(index.path, fmt::format("it lacks the parts {}", fmt::join(missing, ", ")));
  return success();
}

Result<void> read_defaults(const Document& own, ModelDescription& model) {
  static constexpr std::array known = {"width",   "height",   "steps",          "cfg_scale", "guidance_rescale",
                                       "sampler", "schedule", "negative_prompt"};
  const auto found = own.json().find("defaults");
  if (found == own.json().end() || found->is_null()) return success();
  const auto& defaults = *found;
  if (!defaults.is_object()) return corrupt(own.path, "defaults is not a JSON object");
  for (const auto& [key, value] : defaults.items()) {
    if (std::ranges::find(known, key) == known.end()) {
      // A later version may know it; a misspelt one should still be noticed.
      model.warnings.push_back(fmt::format("{}: defaults has the unknown key {}", own.path, shown(key)));
    }
  }
  auto& into = model.defaults;
  GF_TRY(const auto width, whole(own, defaults, "width", 8, 8192, 0));
  GF_TRY(const auto height, whole(own, defaults, "height", 8, 8192, 0));
  GF_TRY(const auto steps, whole(own, defaults, "steps", 1, 1000, 0));
  GF_TRY(into.cfg_scale, real(own, defaults, "cfg_scale", 1, 100));
  GF_TRY(into.guidance_rescale, real(own, defaults, "guidance_rescale", 0, 1));
  GF_TRY(const auto sampler, text(own, defaults, "sampler"));
  GF_TRY(const auto schedule, text(own, defaults, "schedule"));
  into.width_px = static_cast<std::uint32_t>(width);
  into.height_px = static_cast<std::uint32_t>(height);
  into.steps = static_cast<std::uint32_t>(steps);
  for (const auto& [key, px] : {std::pair{"width", width}, std::pair{"height", height}}) {
    if (px % model.size_multiple_px != 0) {
      return corrupt(own.path,
                     fmt::format("{} is {}; the model needs a multiple of {}", key, px, model.size_multiple_px));
    }
  }
  if (!sampler.empty()) {
    const auto choice = find_sampler(sampler);
    if (!choice) return corrupt(own.path, choice.error().message);
    into.sampler = choice.value().sampler;
    into.schedule = choice.value().schedule;
  }
  if (!schedule.empty()) {
    const auto choice = find_schedule(schedule);
    if (!choice) return corrupt(own.path, choice.error().message);
    into.schedule = choice.value();
  }
  if (defaults.contains("negative_prompt") && !defaults["negative_prompt"].is_null()) {
    GF_TRY(auto negative, text(own, defaults, "negative_prompt"));
    if (negative.size() > max_prompt_bytes) {
      return corrupt(own.path, fmt::format("negative_prompt has {} bytes; at most {} are taken", negative.size(),
                                           max_prompt_bytes));
    }
    into.negative_prompt = std::move(negative);
  }
  return success();
}

Result<void> read_background(const Document& own, ModelDescription& model) {
  const auto found = own.json().find("background");
  if (found == own.json().end() || found->is_null()) return success();
  if (!found->is_object()) return corrupt(own.path, "background is not a JSON object");
  const auto rgb = found->find("rgb");
  const auto is_level = [](const Json& value) {
    return value.is_number_unsigned() && value.get<std::uint64_t>() <= 255;
  };
  if (rgb == found->end() || !rgb->is_array() || rgb->size() != 3 || !std::ranges::all_of(*rgb, is_level)) {
    return corrupt(own.path, "background.rgb must be a list of three whole numbers from 0 to 255");
  }
  GF_TRY(const auto tolerance, whole(own, *found, "tolerance", 0, 255, 0));
  model.background = ModelBackground{(*rgb)[0].get<std::uint8_t>(), (*rgb)[1].get<std::uint8_t>(),
                                     (*rgb)[2].get<std::uint8_t>(), static_cast<std::uint32_t>(tolerance)};
  return success();
}

/// The sampler that a scheduler_config.json stands for, if it is built. diffusers' classes of DPM++ and PNDM are
/// several samplers, told apart by options.
std::optional<std::string_view> sampler_of(const Json& scheduler, const std::string& class_name) {
  const auto is = [&](const char* key, const Json& value) {
    const auto found = scheduler.find(key);
    return found != scheduler.end() && *found == value;
  };
  if (class_name == "PNDMScheduler") return is("skip_prk_steps", true) ? "plms" : "pndm";
  if (class_name == "DPMSolverMultistepScheduler" || class_name == "DPMSolverSinglestepScheduler") {
    const bool single = class_name == "DPMSolverSinglestepScheduler";
    const bool stochastic = is("algorithm_type", "sde-dpmsolver++");
    const bool plain = is("algorithm_type", "dpmsolver++") || !scheduler.contains("algorithm_type");
    const bool third = is("solver_order", 3);
    if ((!stochastic && !plain) || is("solver_order", 1) || (single && (stochastic || third))) return std::nullopt;
    if (single) return "dpmpp_2s";
    if (third) return stochastic ? "dpmpp_3m_sde" : "dpmpp_3m";
    return stochastic ? "dpmpp_2m_sde" : "dpmpp_2m";
  }
  const auto choice = find_sampler(class_name);
  if (!choice) return std::nullopt;
  return choice.value().sampler;
}

/// Reads everything. `stamps` receives what was opened, and an empty stamp for an optional file that is not there.
Result<std::shared_ptr<const ModelDescription>> read_model(const ModelName& name,
                                                           std::map<std::string, FileStamp>& stamps) {
  auto model = std::make_shared<ModelDescription>();
  model->name = name.name;
  model->path = name.path;

  GF_TRY(const auto index, read_document(join_path(name.path, "model_index.json"), stamps));
  GF_TRYV(read_index(index, *model));

  GF_TRY(const auto vae, read_document(join_path(name.path, "vae/config.json"), stamps));
  GF_TRY(const auto vae_levels, levels_of(vae));
  GF_TRY(const auto latent_channels, whole(vae, vae.json(), "latent_channels", 1, 1024, 4));
  model->latent_channels = static_cast<std::uint32_t>(latent_channels);
  model->vae_factor = std::uint32_t{1} << (vae_levels - 1);
  // The UNet's halvings ask for nothing more: its way up takes any size of its way down back, as in diffusers.
  model->size_multiple_px = model->vae_factor;

  GF_TRY(const auto unet, read_document(join_path(name.path, "unet/config.json"), stamps));
  GF_TRYV(levels_of(unet));
  // 128: the default of diffusers' UNet2DConditionModel is no size at all, and its pipeline then takes 128.
  GF_TRY(const auto sample_size, whole(unet, unet.json(), "sample_size", 1, longest_sample_side, 128));

  GF_TRY(const auto scheduler, read_document(join_path(name.path, "scheduler/scheduler_config.json"), stamps));
  GF_TRY(const auto scheduler_class, text(scheduler, scheduler.json(), "_class_name"));
  GF_TRY(model->prediction, text(scheduler, scheduler.json(), "prediction_type"));
  if (model->prediction.empty()) model->prediction = "epsilon";

  const auto own_path = join_path(name.path, "gameforge.json");
  auto own = read_document(own_path, stamps);
  if (own) {
    const auto& document = own.value();
    GF_TRY(auto own_name, text(document, document.json(), "name"));
    if (!own_name.empty()) model->name = std::move(own_name);
    GF_TRY(model->licence, text(document, document.json(), "licence"));
    GF_TRYV(read_defaults(document, *model));
    GF_TRYV(read_background(document, *model));
  } else if (own.error().status != Status::not_found) {
    return std::move(own).as_failure();
  }

  const auto& defaults = model->defaults;
  const auto side = static_cast<std::uint32_t>(std::min<std::uint64_t>(sample_size * model->vae_factor, 8192));
  model->default_width_px = defaults.width_px != 0 ? defaults.width_px : side;
  model->default_height_px = defaults.height_px != 0 ? defaults.height_px : side;
  model->default_steps = defaults.steps != 0 ? defaults.steps : fallback_steps;
  model->default_cfg_scale = defaults.cfg_scale != 0 ? defaults.cfg_scale : fallback_cfg_scale;
  model->default_sampler = defaults.sampler;
  if (model->default_sampler.empty()) {
    const auto own_sampler = sampler_of(scheduler.json(), scheduler_class);
    model->default_sampler = own_sampler.value_or(samplers().front().name);
    if (!own_sampler) {
      model->warnings.push_back(fmt::format("{}: the scheduler {} is not built; {} stands in for it", scheduler.path,
                                            shown(scheduler_class), model->default_sampler));
    }
  }
  return std::shared_ptr<const ModelDescription>(std::move(model));
}

/// The path with links resolved, or empty where it leads nowhere.
std::string resolved(const std::string& path) {
  char out[PATH_MAX];
  return realpath(path.c_str(), out) == nullptr ? std::string{} : std::string(out);
}

std::string last_name(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

/// The name that a checkpoint's file stands for.
std::string stem_of(const std::string& path) {
  auto name = last_name(path);
  if (name.ends_with(checkpoint_suffix)) name.resize(name.size() - checkpoint_suffix.size());
  return name;
}

}  // namespace

Result<ModelName> ModelFolders::resolve(std::string_view reference) const {
  GF_TRY(const auto model, check_model_reference(reference, allow_paths_));
  if (model.front() == '/') {
    const auto path = resolved(model);
    if (!path.empty() && is_checkpoint_file(path)) return ModelName{stem_of(path), path};
    if (path.empty() || !is_directory(path)) {
      return Error{
          Status::not_found, fmt::format("there is no model folder or .safetensors file {}", shown(model)), {}};
    }
    return ModelName{last_name(path), path};
  }
  for (const auto& folder : folders_) {
    const auto path = resolved(join_path(folder, model));
    if (!path.empty() && is_directory(path)) return ModelName{model, path};
    const auto file = resolved(
        join_path(folder, model.ends_with(checkpoint_suffix) ? model : fmt::format("{}{}", model, checkpoint_suffix)));
    if (!file.empty() && is_checkpoint_file(file)) return ModelName{stem_of(model), file};
  }
  const auto where = folders_.empty() ? std::string("the engine has no model folders")
                                      : fmt::format("looked in {}", fmt::join(folders_, ", "));
  return Error{Status::not_found, fmt::format("there is no model {}: {}", shown(model), where), {}};
}

Result<std::string> ModelFolders::find_lora(const std::string& name, const ModelName& model) const {
  if (name.starts_with('/')) {
    if (is_regular_file(name)) return name;
    return Error{Status::not_found, fmt::format("there is no LoRA file {}", shown(name)), {}};
  }
  const bool is_file = is_checkpoint_file(model.path);
  std::vector<std::string> places = {
      join_path(is_file ? model.path.substr(0, model.path.rfind('/')) : model.path, "loras")};
  for (const auto& folder : folders_) places.push_back(join_path(folder, "loras"));
  const auto file = name.ends_with(checkpoint_suffix) ? name : fmt::format("{}{}", name, checkpoint_suffix);
  for (const auto& place : places) {
    if (auto path = join_path(place, file); is_regular_file(path)) return path;
  }
  return Error{
      Status::not_found, fmt::format("there is no LoRA {}: looked in {}", shown(name), fmt::join(places, ", ")), {}};
}

Result<std::shared_ptr<const ModelDescription>> ModelFolders::inspect(const ModelName& model) const {
  Cached cached;
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = cache_.find(model.path); found != cache_.end()) cached = found->second;
  }
  if (cached.description && std::ranges::all_of(cached.stamps, [](const auto& entry) {
        return stamp_of_model_file(entry.first) == entry.second;
      })) {
    return cached.description;
  }
  std::map<std::string, FileStamp> stamps;
  auto description = read_model(model, stamps);
  const std::lock_guard lock(mutex_);
  if (!description) {
    cache_.erase(model.path);  // An error is found again each time: its file may be repaired.
    return description;
  }
  cache_[model.path] = Cached{std::move(stamps), description.value()};
  return description;
}

std::vector<ModelName> ModelFolders::list() const {
  std::vector<ModelName> out;
  for (const auto& folder : folders_) {
    std::vector<ModelName> here;
    const auto names = names_in(folder);
    if (!names) continue;
    for (const auto& name : names.value()) {
      const auto place = join_path(folder, name);
      const bool is_file = is_checkpoint_file(place);
      if (first_invalid_utf8(name) || (!is_file && !is_regular_file(join_path(place, "model_index.json")))) continue;
      const auto called = is_file ? stem_of(name) : name;
      // The first that has a name is the one that resolve() finds; of one folder, a folder before a file.
      const bool hidden = std::ranges::find(out, called, &ModelName::name) != out.end() ||
                          (is_file && is_directory(join_path(folder, called)));
      if (const auto path = resolved(place); !path.empty() && !hidden) here.push_back({called, path});
    }
    out.insert(out.end(), here.begin(), here.end());
  }
  return out;
}

namespace {

/// Gives the bytes of all.
std::uint64_t write_parts(JsonText& out, const ModelDescription& model) {
  std::uint64_t total = 0;
  out.key("parts").begin_array();
  for (const auto& part : model.parts) {
    const auto files = files_in_model(join_path(model.path, part.name));
    std::uint64_t sum = 0;
    out.begin_object().member("name", part.name).member("library", part.library).member("class", part.class_name);
    out.key("files").begin_array();
    for (const auto& [name, bytes] : files) {
      out.begin_object().member("name", name).member("bytes", bytes).end_object();
      sum += bytes;
    }
    out.end_array().member("bytes", sum).end_object();
    total += sum;
  }
  out.end_array();
  return total;
}

void write_defaults(JsonText& out, const ModelDescription& model) {
  out.key("defaults").begin_object();
  out.member("width_px", model.default_width_px).member("height_px", model.default_height_px);
  out.member("steps", model.default_steps).member("cfg_scale", model.default_cfg_scale);
  out.member("guidance_rescale", model.defaults.guidance_rescale).member("sampler", model.default_sampler);
  out.text_or_null("schedule", model.defaults.schedule).member("negative_prompt", model.defaults.negative_prompt);
  out.end_object();
}

}  // namespace

void write_json(JsonText& out, const ModelDescription& model) {
  out.member("name", model.name).member("path", model.path).member("family", model.family);
  out.member("pipeline", model.pipeline).member("prediction", model.prediction);
  out.member("latent_channels", model.latent_channels).member("vae_factor", model.vae_factor);
  out.member("size_multiple_px", model.size_multiple_px).text_or_null("licence", model.licence);
  write_defaults(out, model);
  const auto bytes = write_parts(out, model);
  out.member("file_bytes", bytes).key("background");
  if (const auto& background = model.background) {
    out.begin_object().key("rgb").begin_array();
    for (const auto level : {background->red, background->green, background->blue}) {
      out.number(std::uint64_t{level});
    }
    out.end_array().member("tolerance", background->tolerance).end_object();
  } else {
    out.null();
  }
  out.member("warnings", model.warnings);
}

Result<Request> with_defaults(Request request, const ModelDescription& model) {
  const auto& defaults = model.defaults;
  if (request.width_px == 0) request.width_px = model.default_width_px;
  if (request.height_px == 0) request.height_px = model.default_height_px;
  if (request.steps == 0) request.steps = model.default_steps;
  if (request.cfg_scale == 0) request.cfg_scale = model.default_cfg_scale;
  if (request.guidance_rescale == 0) request.guidance_rescale = defaults.guidance_rescale;
  if (request.sampler.empty()) request.sampler = model.default_sampler;
  if (request.schedule.empty()) request.schedule = defaults.schedule;
  if (!request.negative_prompt && defaults.negative_prompt) request.negative_prompt = defaults.negative_prompt;

  for (const auto& [field, px] : {std::pair{"width_px", request.width_px}, std::pair{"height_px", request.height_px}}) {
    if (px % model.size_multiple_px != 0) {
      return Error{
          Status::invalid_argument,
          fmt::format("{} is {}; {} needs a multiple of {}", field, px, shown(model.name), model.size_multiple_px),
          {}};
    }
  }
  const std::uint64_t cells =
      std::uint64_t{request.width_px / model.vae_factor} * (request.height_px / model.vae_factor);
  const std::uint64_t needed = cells * model.latent_channels * request.image_count;
  if (!request.initial_latents.empty() && request.initial_latents.size() != needed) {
    return Error{Status::invalid_argument,
                 fmt::format("initial_latent_count is {}; {} images of {} x {} pixels need {} x {} x {} x {} = {}",
                             request.initial_latents.size(), request.image_count, request.width_px, request.height_px,
                             request.image_count, model.latent_channels, request.height_px / model.vae_factor,
                             request.width_px / model.vae_factor, needed),
                 {}};
  }
  return request;
}

}  // namespace gf::pipeline
