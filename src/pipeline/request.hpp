// pipeline: what a request and its result are, and the seam to what computes them; when and where is the engine's
// business. This header: a request, checked and frozen at submit.
#pragma once

#include "base/result.hpp"
#include "pipeline/image.hpp"
#include "pipeline/prompt.hpp"

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gf::pipeline {

/// Where noise comes from; values of GF_BACKEND_NOISE_ and gf_noise.
enum class NoiseKind : std::uint32_t { torch_cpu = 0, philox = 1 };

/// A LoRA file and how strongly it counts.
struct LoraUse {
  std::string name;  ///< As the host named it: a name in the model's or the model folders' "loras", or a path.
  double scale = 1;
  std::string path;  ///< Of the file, once it is found.
};

/// What a host asks for, as it came: nothing is checked, texts and latents are borrowed for the call. 0 and nullopt
/// mean the default. Fields and ranges are those of gf_request.
struct RequestDraft {
  bool random_seed = false;
  bool keep_latents = false;
  std::uint32_t width_px = 0;
  std::uint32_t height_px = 0;
  std::uint32_t steps = 0;
  std::uint32_t image_count = 0;
  double cfg_scale = 0;
  double guidance_rescale = 0;
  std::uint64_t seed = 0;
  std::uint64_t host_tag = 0;
  std::optional<std::string_view> model;
  std::optional<std::string_view> prompt;
  std::optional<std::string_view> prompt_2;
  std::optional<std::string_view> negative_prompt;
  std::optional<std::string_view> negative_prompt_2;
  std::optional<std::string_view> sampler;
  std::optional<std::string_view> schedule;
  const float* initial_latents = nullptr;
  std::uint64_t initial_latent_count = 0;
  std::uint32_t original_width_px = 0;
  std::uint32_t original_height_px = 0;
  std::uint32_t target_width_px = 0;
  std::uint32_t target_height_px = 0;
  std::uint32_t crop_left_px = 0;
  std::uint32_t crop_top_px = 0;
  std::vector<std::pair<std::optional<std::string_view>, double>> loras;
  bool lora_lenient = false;
  bool memory_may_change_pixels = false;
  std::uint32_t clip_skip = 0;
  double eta = 0;
  double strength = 0;
  std::shared_ptr<const Image> init_image;
  std::shared_ptr<const Image> mask;
  std::uint32_t noise = 0;
  std::uint32_t prompt_syntax = 0;
  std::uint32_t long_prompt = 0;
  std::uint32_t tile = 0;
};

/// A request that can be run once a model is known: everything is a copy, every check that needs no file is done.
/// Values that the host left to the model stay 0 or nullopt until `with_defaults`. Immutable once shared.
struct Request {
  bool keep_latents = false;
  std::uint32_t width_px = 0;
  std::uint32_t height_px = 0;
  std::uint32_t steps = 0;
  std::uint32_t image_count = 1;
  double cfg_scale = 0;
  double guidance_rescale = 0;
  std::uint64_t seed = 0;  ///< Drawn already where the host asked for a random one.
  std::uint64_t host_tag = 0;
  std::string model;
  std::string prompt;
  std::optional<std::string> prompt_2;
  std::optional<std::string> negative_prompt;
  std::optional<std::string> negative_prompt_2;
  std::string sampler;   ///< Canonical, or empty: the model's.
  std::string schedule;  ///< Canonical, or empty: the model's.
  std::vector<float> initial_latents;
  std::uint32_t original_width_px = 0;
  std::uint32_t original_height_px = 0;
  std::uint32_t target_width_px = 0;
  std::uint32_t target_height_px = 0;
  std::uint32_t crop_left_px = 0;
  std::uint32_t crop_top_px = 0;
  std::vector<LoraUse> loras;   ///< Those of the prompt's tags too.
  std::string prompt_as_given;  ///< With its LoRA tags, where it had some; else empty.
  bool lora_lenient = false;
  bool memory_may_change_pixels = false;  ///< Whether a shortage may be met by what changes pixels.
  std::uint32_t clip_skip = 0;
  double eta = 0;
  double strength = 0;  ///< Of an init image; above 0 where there is one.
  std::shared_ptr<const Image> init_image;
  std::shared_ptr<const std::vector<std::uint8_t>>
      mask;  ///< A byte a pixel of the init image, 255 where it is painted.
  NoiseKind noise = NoiseKind::torch_cpu;
  PromptSyntax prompt_syntax = PromptSyntax::weighted;
  LongPrompt long_prompt = LongPrompt::chunks;
  bool tile_x = false;  ///< The picture goes on with its opposite side, left and right,
  bool tile_y = false;  ///< top and bottom.

  /// Its prompts by their names, in the order in which backends take them; null where one is not set.
  std::array<std::pair<std::string_view, const std::string*>, 4> prompts() const {
    const auto set = [](const std::optional<std::string>& text) { return text ? &*text : nullptr; };
    return {{{"prompt", &prompt},
             {"prompt_2", set(prompt_2)},
             {"negative_prompt", set(negative_prompt)},
             {"negative_prompt_2", set(negative_prompt_2)}}};
  }

  /// The seed of one image; wraps round at 2^64.
  std::uint64_t seed_of(std::uint32_t image) const { return seed + image; }
};

/// What gf_request promises about lengths.
inline constexpr std::uint64_t max_prompt_bytes = 65536;
inline constexpr std::uint64_t max_model_bytes = 4096;
/// 1 GiB: 256 images of 4 channels at 4096 x 4096 pixels.
inline constexpr std::uint64_t max_initial_latents = std::uint64_t{1} << 28;
inline constexpr std::size_t max_loras = 32;
inline constexpr double default_strength = 0.75;

/// Checks and copies. `random` is taken for the seed if one is to be drawn; 32 bits of it, which people can retype.
/// Errors: invalid_argument and payload_too_large name the field, its value and its range; unsupported for a sampler or
/// schedule that no table knows; unauthorised for a path where only names are allowed. Throws bad_alloc.
Result<Request> make_request(const RequestDraft& draft, bool allow_model_paths, std::uint64_t random);

/// Checks a model's reference alone, as make_request does; the copy is the answer.
Result<std::string> check_model_reference(std::optional<std::string_view> model, bool allow_model_paths);

}  // namespace gf::pipeline
