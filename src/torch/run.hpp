// One image on its way: latents, sampler and noise. Started from a conditioning, stepped to the end, then decoded.
#pragma once

#include "base/result.hpp"
#include "torch/model.hpp"
#include "torch/noise.hpp"
#include "torch/samplers/sampler.hpp"

#include <ATen/ATen.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gf::torch {

/// SDXL's size conditioning of one side, pixels.
struct SizeConditioning {
  std::int64_t original_height = 0;
  std::int64_t original_width = 0;
  std::int64_t crop_top = 0;
  std::int64_t crop_left = 0;
  std::int64_t target_height = 0;
  std::int64_t target_width = 0;
};

struct RunOptions {
  std::int64_t width = 0;   ///< Pixels, a multiple of the VAE's factor.
  std::int64_t height = 0;  ///< Pixels.
  std::int64_t steps = 20;
  double cfg_scale = 7;
  double guidance_rescale = 0;
  std::uint64_t seed = 0;
  NoiseKind noise = NoiseKind::torch_cpu;
  Wrap wrap;  ///< Sides that wrap are multiples of the UNet's halvings, in latents.
  std::string sampler = "euler";
  double eta = 0;  ///< DDIM's.
  SchedulerConfig scheduler;
  SizeConditioning sizes;
  std::optional<SizeConditioning> negative_sizes;  ///< None: as sizes.
  at::Tensor initial_latents;                      ///< [1, channels, h, w], standard normal; undefined: drawn.
  NoiseSource step_noise;                          ///< Empty: drawn from the seed's generator.

  /// Image to image: the picture's latents with the noise of a later step are where the run begins.
  at::Tensor image;      ///< [1, 3, height, width], -1 to 1; undefined: text to image.
  double strength = 1;   ///< The share of the steps that are done, above 0 to 1.
  at::Tensor mask;       ///< [1, 1, height, width], 1 where the picture is painted anew; undefined: everywhere.
  at::Tensor vae_noise;  ///< [1, channels, h, w], for the sample of the encoded picture; undefined: drawn.
};

/// Not synchronised; one thread at a time. The model and the conditioning must outlive it.
class Run {
 public:
  /// Errors: invalid_argument names the option; unsupported; those of noise_levels.
  static Result<std::unique_ptr<Run>> start(const Model& model, const Conditioning& conditioning, RunOptions options,
                                            const Call& call);

  /// Calls of the network; some samplers make two a step.
  std::size_t steps() const { return sampler_->calls(); }
  /// The call that comes next. A run over a picture begins after the first.
  std::size_t done() const { return done_; }

  /// Errors: wrong_state after the last step; not_finite; those of Part::use. A step that failed may be tried again:
  /// it is done anew, or answers wrong_state where it had come too far for that.
  Result<void> step(const Call& call);

  /// Gives back the model's parts, but for the denoiser unless that goes too; the next call reads them again.
  void rest(bool keep_denoiser);

  /// The latents as they stand, still times the VAE's scaling factor. [1, channels, h, w]
  const at::Tensor& latents() const { return latents_; }

  /// Floats 0 to 1, [1, 3, height, width]. Errors: not_finite; cancelled; those of Part::use.
  Result<at::Tensor> decode(const Call& call);

  const Model& model() const { return model_; }
  std::int64_t width() const { return options_.width; }
  std::int64_t height() const { return options_.height; }

 private:
  /// Takes initial_latents as the noise that is mixed in. Errors: invalid_argument.
  Result<void> begin_from_image(const at::Tensor& noise, const Call& call);

  Run(const Model& model, const Conditioning& conditioning, RunOptions options)
      : model_(model),
        conditioning_(conditioning),
        options_(std::move(options)),
        generator_(options_.noise, options_.seed) {}

  const Model& model_;
  const Conditioning& conditioning_;
  RunOptions options_;
  std::unique_ptr<Sampler> sampler_;
  Noise generator_;
  NoiseSource noise_;
  std::shared_ptr<Unet> unet_;  // While it is sampled.
  std::shared_ptr<const UnetContext> context_;
  UnetTimes times_;
  at::Tensor latents_;
  at::Tensor image_latents_;  // With a mask: what stays, without noise, and the noise that it is given.
  at::Tensor image_noise_;
  at::Tensor mask_;  // Of the latents' size.
  std::size_t done_ = 0;
  bool is_torn_ = false;  // The last step ended between two states.
};

/// Classifier-free guidance (Ho and Salimans 2022), with the rescaling of Lin et al. 2023 (section 3.4) when `rescale`
/// > 0. Each: [1, channels, h, w].
at::Tensor guide(const at::Tensor& negative, const at::Tensor& positive, double scale, double rescale);

/// RGBA8 to floats [1, 3, height, width] of -1 to 1; and a byte a pixel to [1, 1, height, width], 1 from 128 on, as
/// diffusers makes masks hard.
at::Tensor read_rgba(const std::uint8_t* pixels, std::int64_t height, std::int64_t width);
at::Tensor read_mask(const std::uint8_t* pixels, std::int64_t height, std::int64_t width);

/// Floats [1, 3, height, width] of 0 to 1 to RGBA8, opaque: 255 times the value, rounded half to even as numpy does.
/// `pixels` has height * width * 4 bytes.
void write_rgba(const at::Tensor& image, std::span<std::uint8_t> pixels);

}  // namespace gf::torch
