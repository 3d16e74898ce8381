// torch: the libtorch backend behind backend_abi.h. Loads models and turns requests into pixels; it keeps no ledger,
// log or configuration of its own, and knows nothing of jobs, queues or engines.
// This header: what the config files of a diffusers folder say, checked before anything is built from it.
#pragma once

#include "base/json.hpp"
#include "base/result.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace gf::torch {

/// CLIP text model (transformers: CLIPTextConfig).
struct TextConfig {
  std::int64_t vocabulary = 0;
  std::int64_t hidden = 0;
  std::int64_t intermediate = 0;
  std::int64_t layers = 0;
  std::int64_t heads = 0;
  std::int64_t positions = 0;   ///< Tokens of a prompt, begin and end included.
  std::int64_t projection = 0;  ///< Width of the projected pooled output; 0 where the model has none.
  std::int64_t end_token = 0;   ///< 2 in old files, which means: the largest id marks the end.
  double norm_eps = 1e-5;
  bool quick_gelu = true;  ///< x * sigmoid(1.702 x); else the exact GELU.
};

/// UNet2DConditionModel, of which the blocks of the Stable Diffusion families are built.
struct UnetConfig {
  struct Level {
    std::int64_t channels = 0;
    bool down_attention = false;
    bool up_attention = false;  ///< Of the up block that works at this level.
    std::int64_t heads = 0;     ///< The file calls it attention_head_dim, and means heads.
    std::int64_t transformer_depth = 1;
  };
  std::int64_t in_channels = 4;
  std::int64_t out_channels = 4;
  std::int64_t resnets = 2;  ///< Of a down block; an up block has one more.
  std::vector<Level> levels;
  std::int64_t cross_attention = 0;
  std::int64_t groups = 32;
  double norm_eps = 1e-5;
  bool linear_projection = false;  ///< proj_in and proj_out are linear layers; else 1x1 convolutions.
  bool flip_sin_to_cos = true;
  double freq_shift = 0;
  bool text_time = false;  ///< SDXL's conditioning by pooled text and sizes.
  std::int64_t addition_time_dim = 0;
  std::int64_t addition_input = 0;  ///< projection_class_embeddings_input_dim.
  std::int64_t sample_size = 0;     ///< Latent cells of the size that it was trained at.
};

/// AutoencoderKL.
struct VaeConfig {
  std::int64_t in_channels = 3;
  std::int64_t out_channels = 3;
  std::int64_t latent_channels = 4;
  std::vector<std::int64_t> channels;
  std::int64_t resnets = 2;
  std::int64_t groups = 32;
  double scaling_factor = 0.18215;
  double shift_factor = 0;
  bool mid_attention = true;
  bool quant_conv = true;
  bool post_quant_conv = true;

  std::int64_t factor() const { return std::int64_t{1} << (channels.size() - 1); }
};

enum class Prediction { epsilon, v_prediction, sample };
enum class Spacing { linspace, leading, trailing };
enum class SigmaSchedule { normal, karras, exponential, lu };

/// scheduler_config.json, as far as the samplers read it. What is optional has a default of each sampler's own, as in
/// diffusers, where a scheduler that is made from another's config takes over only what the file says.
struct SchedulerConfig {
  std::string class_name;  ///< Empty where a bare set of options was given.
  std::int64_t train_timesteps = 1000;
  double beta_start = 0.0001;
  double beta_end = 0.02;
  std::string beta_schedule = "linear";
  std::vector<double> trained_betas;
  Prediction prediction = Prediction::epsilon;
  std::optional<Spacing> spacing;
  SigmaSchedule sigmas = SigmaSchedule::normal;
  bool log_linear = false;
  bool continuous_timesteps = false;
  bool final_sigma_min = false;
  bool zero_terminal_snr = false;
  std::int64_t steps_offset = 0;
  std::optional<double> sigma_min;
  std::optional<double> sigma_max;
  /// The predicted picture is clamped to clip_sample_range. Where the file says nothing: as diffusers has it for a file
  /// of DDIM or DDPM, and not for another sampler's, whose latents would be cut.
  std::optional<bool> clip_sample;
  double clip_sample_range = 1;
  std::optional<bool> alpha_to_one;  ///< The level after the last step is clean, else that of timestep 0.
  bool large_variance = false;       ///< DDPM's fixed_large.
  std::int64_t solver_order = 2;     ///< Of the multistep solvers.
  std::string algorithm = "dpmsolver++";
  std::string solver_type;  ///< "midpoint", "heun"; "bh1", "bh2". Empty: the sampler's default.
  std::optional<bool> lower_order_final;
  bool euler_at_final = false;
  bool skip_prk_steps = false;       ///< PNDM without its Runge-Kutta start.
  std::int64_t original_steps = 50;  ///< LCM: of the run that it was distilled from.
  double timestep_scaling = 10;      ///< LCM.
};

/// model_index.json of a text-to-image pipeline.
struct ModelIndex {
  std::string pipeline;  ///< "StableDiffusionXLPipeline".
  bool two_text_encoders = false;
  bool zeros_for_empty_prompt = true;  ///< No negative prompt: zeros instead of the encoded "".
};

/// Each takes the parsed file and its path, for messages.
/// Errors: unsupported_format for what is well-formed but not built (a block type, an activation); corrupt_file for
/// values that are missing, of the wrong kind or out of any sensible range. Both name the file and the key.
Result<TextConfig> read_text_config(const Json& json, const std::string& path, bool with_projection);
Result<UnetConfig> read_unet_config(const Json& json, const std::string& path);
Result<VaeConfig> read_vae_config(const Json& json, const std::string& path);
Result<SchedulerConfig> read_scheduler_config(const Json& json, const std::string& path);
Result<ModelIndex> read_model_index(const Json& json, const std::string& path);

}  // namespace gf::torch
