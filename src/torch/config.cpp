#include "torch/config.hpp"

#include "base/utf8.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <string_view>

namespace gf::torch {
namespace {

// Bounds far above every published model, and far below what a hostile file would need to exhaust a machine: the
// weights' shapes are compared with these numbers before memory is taken, so they only have to keep lists and products
// small.
constexpr std::int64_t largest_width = 32768;
constexpr std::int64_t most_layers = 128;
constexpr std::size_t most_levels = 8;

/// One JSON object of a file, read key by key. The first problem is kept; reads after it give their defaults, so that a
/// reader is a plain list of fields with one check at its end.
class Fields {
 public:
  Fields(const Json& json, const std::string& path) : json_(json), path_(path) {
    if (!json.is_object()) fail(Status::corrupt_file, "it is not a JSON object");
  }

  void fail(Status status, std::string what) {
    if (!error_) error_ = Error{status, fmt::format("{}: {}", path_, what), {}};
  }

  /// nullptr where the key is missing or null.
  const Json* find(const char* key) const {
    if (error_) return nullptr;
    const auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }

  std::int64_t integer(const char* key, std::int64_t low, std::int64_t high,
                       std::optional<std::int64_t> fallback = {}) {
    const auto* value = find(key);
    if (value == nullptr) {
      if (!fallback) fail(Status::corrupt_file, fmt::format("{} is missing", key));
      return fallback.value_or(low);
    }
    return integer_of(*value, key, low, high);
  }

  std::int64_t integer_of(const Json& value, const char* key, std::int64_t low, std::int64_t high) {
    if (!value.is_number_integer()) {
      fail(Status::corrupt_file, fmt::format("{} is {}, where a whole number is expected", key, shown_value(value)));
      return low;
    }
    const bool above = value.is_number_unsigned() && value.get<std::uint64_t>() > static_cast<std::uint64_t>(high);
    if (above || value.get<std::int64_t>() < low || value.get<std::int64_t>() > high) {
      fail(Status::corrupt_file, fmt::format("{} is {}; it must be {} to {}", key, shown_value(value), low, high));
      return low;
    }
    return value.get<std::int64_t>();
  }

  double real(const char* key, double low, double high, std::optional<double> fallback = {}) {
    const auto* value = find(key);
    if (value == nullptr) {
      if (!fallback) fail(Status::corrupt_file, fmt::format("{} is missing", key));
      return fallback.value_or(low);
    }
    if (!value->is_number()) {
      fail(Status::corrupt_file, fmt::format("{} is {}, where a number is expected", key, shown_value(*value)));
      return low;
    }
    const auto number = value->get<double>();
    if (!(number >= low && number <= high)) {  // So written, NaN fails too.
      fail(Status::corrupt_file, fmt::format("{} is {}; it must be {} to {}", key, shown_value(*value), low, high));
      return low;
    }
    return number;
  }

  bool boolean(const char* key, bool fallback) {
    const auto* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) {
      fail(Status::corrupt_file, fmt::format("{} is {}, where true or false is expected", key, shown_value(*value)));
      return fallback;
    }
    return value->get<bool>();
  }

  std::string text(const char* key, std::optional<std::string> fallback = {}) {
    const auto* value = find(key);
    if (value == nullptr) {
      if (!fallback) fail(Status::corrupt_file, fmt::format("{} is missing", key));
      return fallback.value_or("");
    }
    if (!value->is_string()) {
      fail(Status::corrupt_file, fmt::format("{} is {}, where text is expected", key, shown_value(*value)));
      return {};
    }
    return value->get<std::string>();
  }

  /// The index of the key's text in `names`.
  std::size_t choice(const char* key, std::initializer_list<std::string_view> names, std::size_t fallback) {
    if (find(key) == nullptr) return fallback;
    const auto value = text(key);
    const auto found = std::find(names.begin(), names.end(), value);
    if (found == names.end()) {
      fail(Status::unsupported_format,
           fmt::format("{} is {}; known are {}", key, shown(value), fmt::join(std::vector(names), ", ")));
      return fallback;
    }
    return static_cast<std::size_t>(found - names.begin());
  }

  /// A list of 1 to most_levels whole numbers.
  std::vector<std::int64_t> integers(const char* key, std::int64_t low, std::int64_t high) {
    const auto* value = find(key);
    std::vector<std::int64_t> numbers;
    if (value == nullptr) {
      fail(Status::corrupt_file, fmt::format("{} is missing", key));
    } else if (!value->is_array() || value->empty() || value->size() > most_levels) {
      fail(Status::corrupt_file, fmt::format("{} must be a list of 1 to {} numbers{}", key, most_levels,
                                             value->is_array() ? fmt::format(", and has {}", value->size()) : ""));
    } else {
      for (const auto& item : *value) numbers.push_back(integer_of(item, key, low, high));
    }
    if (numbers.empty()) numbers.push_back(low);
    return numbers;
  }

  /// One number for all levels, or a list with one for each.
  std::vector<std::int64_t> per_level(const char* key, std::size_t levels, std::int64_t low, std::int64_t high,
                                      std::optional<std::int64_t> fallback = {}) {
    const auto* value = find(key);
    if (value == nullptr || !value->is_array()) return std::vector(levels, integer(key, low, high, fallback));
    auto numbers = integers(key, low, high);
    if (numbers.size() != levels) {
      fail(Status::corrupt_file, fmt::format("{} has {} entries for {} levels", key, numbers.size(), levels));
      numbers.resize(levels, low);
    }
    return numbers;
  }

  std::vector<std::string> texts(const char* key, std::size_t count) {
    const auto* value = find(key);
    std::vector<std::string> items;
    if (value == nullptr) {
      fail(Status::corrupt_file, fmt::format("{} is missing", key));
    } else if (!value->is_array() || value->size() != count) {
      fail(Status::corrupt_file, fmt::format("{} must be a list with one entry for each of {} levels{}", key, count,
                                             value->is_array() ? fmt::format(", and has {}", value->size()) : ""));
    } else {
      for (const auto& item : *value) {
        if (!item.is_string()) {
          fail(Status::corrupt_file, fmt::format("{} holds {}, where text is expected", key, shown_value(item)));
          items.emplace_back();
        } else {
          items.push_back(item.get<std::string>());
        }
      }
    }
    items.resize(count);
    return items;
  }

  /// The key must be missing, null, or have one of these values: anything else would change the network.
  void only(const char* key, std::initializer_list<Json> values) {
    const auto* value = find(key);
    if (value == nullptr || std::find(values.begin(), values.end(), *value) != values.end()) return;
    fail(Status::unsupported_format, fmt::format("{} is {}, which is not supported", key, shown_value(*value)));
  }

  bool ok() const { return !error_; }
  Error error() { return *error_; }

 private:
  static std::string shown_value(const Json& value) {
    auto text = to_text(value);
    return text.size() <= 80 ? text : text.substr(0, 77) + "...";
  }

  const Json& json_;
  const std::string& path_;
  std::optional<Error> error_;
};

void check_groups(Fields& fields, std::int64_t groups, const std::vector<std::int64_t>& channels) {
  for (const auto width : channels) {
    if (width % groups != 0) {
      fields.fail(Status::corrupt_file,
                  fmt::format("norm_num_groups {} does not divide the {} channels of a level", groups, width));
    }
  }
}

}  // namespace

Result<TextConfig> read_text_config(const Json& json, const std::string& path, bool with_projection) {
  Fields fields(json, path);
  TextConfig config;
  // The class decides whether there is a projection; a file of another kind of model is told apart here.
  fields.only("model_type", {"clip_text_model"});
  config.vocabulary = fields.integer("vocab_size", 3, 1'000'000);
  config.hidden = fields.integer("hidden_size", 1, largest_width);
  config.intermediate = fields.integer("intermediate_size", 1, 4 * largest_width);
  config.layers = fields.integer("num_hidden_layers", 1, most_layers);
  config.heads = fields.integer("num_attention_heads", 1, 1024);
  config.positions = fields.integer("max_position_embeddings", 3, 4096, 77);
  config.norm_eps = fields.real("layer_norm_eps", 0, 1, 1e-5);
  config.end_token = fields.integer("eos_token_id", 0, 1'000'000, 49407);
  config.quick_gelu = fields.choice("hidden_act", {"quick_gelu", "gelu"}, 0) == 0;
  if (with_projection) config.projection = fields.integer("projection_dim", 1, largest_width, 512);
  if (fields.ok() && config.hidden % config.heads != 0) {
    fields.fail(Status::corrupt_file,
                fmt::format("num_attention_heads {} does not divide hidden_size {}", config.heads, config.hidden));
  }
  if (!fields.ok()) return fields.error();
  return config;
}

Result<UnetConfig> read_unet_config(const Json& json, const std::string& path) {
  Fields fields(json, path);
  UnetConfig config;
  fields.only("_class_name", {"UNet2DConditionModel"});
  config.in_channels = fields.integer("in_channels", 1, 64, 4);
  config.out_channels = fields.integer("out_channels", 1, 64, 4);
  config.resnets = fields.integer("layers_per_block", 1, 16, 2);
  config.groups = fields.integer("norm_num_groups", 1, 1024, 32);
  config.norm_eps = fields.real("norm_eps", 0, 1, 1e-5);
  config.cross_attention = fields.integer("cross_attention_dim", 1, largest_width);
  config.linear_projection = fields.boolean("use_linear_projection", false);
  config.flip_sin_to_cos = fields.boolean("flip_sin_to_cos", true);
  config.freq_shift = fields.real("freq_shift", 0, 1, 0);
  config.sample_size = fields.integer("sample_size", 1, 4096, 64);

  const auto channels = fields.integers("block_out_channels", 1, largest_width);
  const auto levels = channels.size();
  check_groups(fields, config.groups, channels);
  // Numbers of heads: diffusers writes them under attention_head_dim, unless num_attention_heads is set.
  const char* heads_key = fields.find("num_attention_heads") != nullptr ? "num_attention_heads" : "attention_head_dim";
  const auto heads = fields.per_level(heads_key, levels, 1, 1024, 8);
  const auto depth = fields.per_level("transformer_layers_per_block", levels, 1, most_layers, 1);
  const auto down = fields.texts("down_block_types", levels);
  const auto up = fields.texts("up_block_types", levels);
  for (std::size_t i = 0; i < levels && fields.ok(); ++i) {
    UnetConfig::Level level;
    level.channels = channels[i];
    level.heads = heads[i];
    level.transformer_depth = depth[i];
    const auto attends = [&](const std::string& name, std::string_view with, std::string_view without,
                             const char* key) {
      if (name != with && name != without) {
        fields.fail(Status::unsupported_format,
                    fmt::format("{} names {}; known are {} and {}", key, shown(name), with, without));
      }
      return name == with;
    };
    level.down_attention = attends(down[i], "CrossAttnDownBlock2D", "DownBlock2D", "down_block_types");
    level.up_attention = attends(up[levels - 1 - i], "CrossAttnUpBlock2D", "UpBlock2D", "up_block_types");
    const bool attention = level.down_attention || level.up_attention || i + 1 == levels;
    if (attention && level.channels % level.heads != 0) {
      fields.fail(Status::corrupt_file, fmt::format("{} {} does not divide the {} channels of its level", heads_key,
                                                    level.heads, level.channels));
    }
    config.levels.push_back(level);
  }

  fields.only("mid_block_type", {"UNetMidBlock2DCrossAttn"});
  fields.only("act_fn", {"silu", "swish"});
  fields.only("attention_type", {"default"});
  fields.only("downsample_padding", {1});
  fields.only("conv_in_kernel", {3});
  fields.only("conv_out_kernel", {3});
  fields.only("mid_block_scale_factor", {1, 1.0});
  fields.only("resnet_out_scale_factor", {1.0, 1});
  fields.only("resnet_time_scale_shift", {"default"});
  fields.only("time_embedding_type", {"positional"});
  for (const char* key :
       {"class_embed_type", "encoder_hid_dim", "encoder_hid_dim_type", "time_embedding_dim", "time_embedding_act_fn",
        "timestep_post_act", "time_cond_proj_dim", "cross_attention_norm", "num_class_embeds",
        "mid_block_only_cross_attention", "reverse_transformer_layers_per_block"}) {
    fields.only(key, {false});
  }
  for (const char* key : {"center_input_sample", "class_embeddings_concat", "dual_cross_attention",
                          "only_cross_attention", "resnet_skip_time_act"}) {
    fields.only(key, {false});
  }
  if (fields.find("addition_embed_type") != nullptr) {
    fields.only("addition_embed_type", {"text_time"});
    config.text_time = true;
    config.addition_time_dim = fields.integer("addition_time_embed_dim", 2, largest_width);
    config.addition_input = fields.integer("projection_class_embeddings_input_dim", 1, 8 * largest_width);
    if (fields.ok() && config.addition_input <= 5 * config.addition_time_dim) {
      fields.fail(Status::corrupt_file,
                  fmt::format("projection_class_embeddings_input_dim {} has no room for text beside sizes of {} each",
                              config.addition_input, config.addition_time_dim));
    }
  }
  if (!fields.ok()) return fields.error();
  return config;
}

Result<VaeConfig> read_vae_config(const Json& json, const std::string& path) {
  Fields fields(json, path);
  VaeConfig config;
  fields.only("_class_name", {"AutoencoderKL"});
  config.in_channels = fields.integer("in_channels", 1, 64, 3);
  config.out_channels = fields.integer("out_channels", 3, 3, 3);
  config.latent_channels = fields.integer("latent_channels", 1, 64, 4);
  config.channels = fields.integers("block_out_channels", 1, largest_width);
  config.resnets = fields.integer("layers_per_block", 1, 16, 1);
  config.groups = fields.integer("norm_num_groups", 1, 1024, 32);
  config.scaling_factor = fields.real("scaling_factor", 1e-6, 1e6, 0.18215);
  config.shift_factor = fields.real("shift_factor", -1e6, 1e6, 0);
  config.mid_attention = fields.boolean("mid_block_add_attention", true);
  config.quant_conv = fields.boolean("use_quant_conv", true);
  config.post_quant_conv = fields.boolean("use_post_quant_conv", true);
  check_groups(fields, config.groups, config.channels);
  for (const auto& name : fields.texts("down_block_types", config.channels.size())) {
    if (name != "DownEncoderBlock2D") {
      fields.fail(Status::unsupported_format,
                  fmt::format("down_block_types names {}; known is DownEncoderBlock2D", shown(name)));
    }
  }
  for (const auto& name : fields.texts("up_block_types", config.channels.size())) {
    if (name != "UpDecoderBlock2D") {
      fields.fail(Status::unsupported_format,
                  fmt::format("up_block_types names {}; known is UpDecoderBlock2D", shown(name)));
    }
  }
  fields.only("act_fn", {"silu", "swish"});
  for (const char* key : {"latents_mean", "latents_std"}) fields.only(key, {});
  if (!fields.ok()) return fields.error();
  return config;
}

Result<SchedulerConfig> read_scheduler_config(const Json& json, const std::string& path) {
  Fields fields(json, path);
  SchedulerConfig config;
  config.class_name = fields.text("_class_name", "");
  // Every class of diffusers that a Stable Diffusion model names. Which of them is also a sampler here is the sampler's
  // question; their numbers (betas, spacing, prediction) are the same for all.
  static constexpr std::array known = {"EulerDiscreteScheduler",
                                       "EulerAncestralDiscreteScheduler",
                                       "HeunDiscreteScheduler",
                                       "KDPM2DiscreteScheduler",
                                       "KDPM2AncestralDiscreteScheduler",
                                       "LMSDiscreteScheduler",
                                       "DPMSolverMultistepScheduler",
                                       "DPMSolverSinglestepScheduler",
                                       "DPMSolverSDEScheduler",
                                       "DDIMScheduler",
                                       "DDPMScheduler",
                                       "PNDMScheduler",
                                       "UniPCMultistepScheduler",
                                       "DEISMultistepScheduler",
                                       "LCMScheduler",
                                       "EDMEulerScheduler",
                                       "EDMDPMSolverMultistepScheduler"};
  if (!config.class_name.empty() && std::find(known.begin(), known.end(), config.class_name) == known.end()) {
    fields.fail(Status::unsupported_format,
                fmt::format("_class_name is {}, a scheduler that is not known", shown(config.class_name)));
  }
  config.train_timesteps = fields.integer("num_train_timesteps", 2, 100'000, 1000);
  config.beta_start = fields.real("beta_start", 0, 1, 0.0001);
  config.beta_end = fields.real("beta_end", 0, 1, 0.02);
  if (fields.ok() && config.beta_start > config.beta_end) {
    fields.fail(Status::corrupt_file,
                fmt::format("beta_start {} is above beta_end {}", config.beta_start, config.beta_end));
  }
  config.beta_schedule = fields.text("beta_schedule", "linear");
  fields.choice("beta_schedule", {"linear", "scaled_linear", "squaredcos_cap_v2"}, 0);
  if (const auto* betas = fields.find("trained_betas")) {
    if (!betas->is_array() || betas->size() != static_cast<std::size_t>(config.train_timesteps)) {
      fields.fail(Status::corrupt_file, "trained_betas must be a list with one number for each of num_train_timesteps");
    } else {
      for (const auto& beta : *betas) {
        if (!beta.is_number() || !(beta.get<double>() > 0 && beta.get<double>() < 1)) {
          fields.fail(Status::corrupt_file, "trained_betas holds something other than numbers between 0 and 1");
          break;
        }
        config.trained_betas.push_back(beta.get<double>());
      }
    }
  }
  constexpr std::array predictions = {Prediction::epsilon, Prediction::v_prediction, Prediction::sample};
  config.prediction = predictions[fields.choice("prediction_type", {"epsilon", "v_prediction", "sample"}, 0)];
  constexpr std::array spacings = {Spacing::linspace, Spacing::leading, Spacing::trailing};
  if (fields.find("timestep_spacing") != nullptr) {
    config.spacing = spacings[fields.choice("timestep_spacing", {"linspace", "leading", "trailing"}, 0)];
  }
  config.log_linear = fields.choice("interpolation_type", {"linear", "log_linear"}, 0) == 1;
  config.continuous_timesteps = fields.choice("timestep_type", {"discrete", "continuous"}, 0) == 1;
  config.final_sigma_min = fields.choice("final_sigmas_type", {"zero", "sigma_min"}, 0) == 1;
  config.zero_terminal_snr = fields.boolean("rescale_betas_zero_snr", false);
  config.steps_offset = fields.integer("steps_offset", 0, 1000, 0);
  const bool karras = fields.boolean("use_karras_sigmas", false);
  const bool exponential = fields.boolean("use_exponential_sigmas", false);
  fields.only("use_beta_sigmas", {false});
  if (karras && exponential)
    fields.fail(Status::corrupt_file, "use_karras_sigmas and use_exponential_sigmas are both set");
  config.sigmas = karras ? SigmaSchedule::karras : exponential ? SigmaSchedule::exponential : SigmaSchedule::normal;
  if (fields.boolean("use_lu_lambdas", false) && !karras && !exponential) config.sigmas = SigmaSchedule::lu;
  // Flow matching and thresholding of pixels belong to other families of models.
  fields.only("use_flow_sigmas", {false});
  fields.only("thresholding", {false});
  fields.only("predict_x0", {true});
  if (fields.find("clip_sample") != nullptr) config.clip_sample = fields.boolean("clip_sample", false);
  config.clip_sample_range = fields.real("clip_sample_range", 1e-6, 1e6, 1.0);
  if (fields.find("set_alpha_to_one") != nullptr) config.alpha_to_one = fields.boolean("set_alpha_to_one", false);
  config.large_variance = fields.choice("variance_type", {"fixed_small", "fixed_large"}, 0) == 1;
  config.solver_order = fields.integer("solver_order", 1, 3, 2);
  config.algorithm = fields.text("algorithm_type", "dpmsolver++");
  config.solver_type = fields.text("solver_type", "");
  if (fields.find("lower_order_final") != nullptr) {
    config.lower_order_final = fields.boolean("lower_order_final", false);
  }
  config.euler_at_final = fields.boolean("euler_at_final", false);
  config.skip_prk_steps = fields.boolean("skip_prk_steps", false);
  config.original_steps = fields.integer("original_inference_steps", 1, config.train_timesteps, 50);
  config.timestep_scaling = fields.real("timestep_scaling", 1e-6, 1e6, 10.0);
  if (fields.find("sigma_min") != nullptr) config.sigma_min = fields.real("sigma_min", 1e-9, 1e6);
  if (fields.find("sigma_max") != nullptr) config.sigma_max = fields.real("sigma_max", 1e-9, 1e6);
  if (!fields.ok()) return fields.error();
  return config;
}

Result<ModelIndex> read_model_index(const Json& json, const std::string& path) {
  Fields fields(json, path);
  ModelIndex index;
  index.pipeline = fields.text("_class_name");
  if (fields.ok()) {
    if (index.pipeline == "StableDiffusionXLPipeline") {
      index.two_text_encoders = true;
    } else if (index.pipeline != "StableDiffusionPipeline") {
      fields.fail(Status::unsupported_format,
                  fmt::format("_class_name is {}; supported are StableDiffusionXLPipeline and StableDiffusionPipeline",
                              shown(index.pipeline)));
    }
  }
  index.zeros_for_empty_prompt = fields.boolean("force_zeros_for_empty_prompt", index.two_text_encoders);

  struct Part {
    const char* name;
    const char* class_name;  // nullptr: any.
  };
  std::vector<Part> parts = {{"unet", "UNet2DConditionModel"},
                             {"vae", "AutoencoderKL"},
                             {"text_encoder", "CLIPTextModel"},
                             {"tokenizer", nullptr},
                             {"scheduler", nullptr}};
  if (index.two_text_encoders) {
    parts.push_back({"text_encoder_2", "CLIPTextModelWithProjection"});
    parts.push_back({"tokenizer_2", nullptr});
  }
  std::vector<std::string> missing;
  for (const auto& part : parts) {
    const auto* entry = fields.find(part.name);
    const bool pair = entry != nullptr && entry->is_array() && entry->size() == 2;
    if (entry == nullptr || (pair && (*entry)[1].is_null())) {
      missing.emplace_back(part.name);
      continue;
    }
    if (!pair || !(*entry)[0].is_string() || !(*entry)[1].is_string()) {
      fields.fail(Status::corrupt_file, fmt::format("{} is not a pair of library and class", part.name));
      break;
    }
    const auto found = (*entry)[1].get<std::string>();
    if (part.class_name != nullptr && found != part.class_name) {
      fields.fail(Status::unsupported_format,
                  fmt::format("{} is of class {}; supported is {}", part.name, shown(found), part.class_name));
    }
  }
  if (fields.ok() && !missing.empty()) {
    fields.fail(Status::corrupt_file, fmt::format("it lacks the parts {}", fmt::join(missing, ", ")));
  }
  if (!fields.ok()) return fields.error();
  return index;
}

}  // namespace gf::torch
