// Samplers: the noise levels of a run, and one step from one level to the next. One small class a sampler.
#pragma once

#include "base/result.hpp"
#include "torch/config.hpp"

#include <ATen/ATen.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gf::torch {

/// Noise levels and timesteps of one run, as diffusers' Euler schedulers compute them (version 0.42).
struct NoiseLevels {
  std::vector<float> sigmas;     ///< One more than timesteps; the last is the final level, mostly 0.
  std::vector<float> timesteps;  ///< What the network is told.
  float init_noise_sigma = 1;    ///< Standard normal latents are multiplied by this at the start.

  std::size_t steps() const { return timesteps.size(); }
};

/// Errors: invalid_argument when `steps` is not 1 to the trained timesteps; not_finite when the config's numbers give
/// levels that are not finite or do not fall.
Result<NoiseLevels> noise_levels(const SchedulerConfig& config, std::int64_t steps);

/// Whether the config gives levels at all. Errors: corrupt_file names `path`.
Result<void> noise_levels_are_sound(const SchedulerConfig& config, const std::string& path);

/// Draws the standard normal noise of one stochastic step, of the latents' shape.
using NoiseSource = std::function<at::Tensor()>;

/// One run's steps. Not synchronised; the run owns it.
class Sampler {
 public:
  virtual ~Sampler() = default;
  /// latents at level `step` to the network's input.
  virtual at::Tensor scale_input(const at::Tensor& latents, std::size_t step) const;
  /// latents at level `step` and the network's (guided) output to the latents at the next level. float32.
  virtual at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t step,
                          const NoiseSource& noise) = 0;

  const NoiseLevels& levels() const { return levels_; }

 protected:
  Sampler(NoiseLevels levels, Prediction prediction) : levels_(std::move(levels)), prediction_(prediction) {}
  /// The clean latents that the output stands for.
  at::Tensor denoised(const at::Tensor& latents, const at::Tensor& output, float sigma) const;

  NoiseLevels levels_;
  Prediction prediction_;
};

/// `name` is canonical: "euler", "euler_a". Errors: unsupported; those of noise_levels.
Result<std::unique_ptr<Sampler>> make_sampler(std::string_view name, const SchedulerConfig& config, std::int64_t steps);

/// The sampler that a model's scheduler class stands for, or "euler" where that one is not built; `exact` tells which.
struct DefaultSampler {
  std::string_view name;
  bool exact = true;
};
DefaultSampler default_sampler(std::string_view scheduler_class);

/// Classifier-free guidance (Ho and Salimans 2022), with the rescaling of Lin et al. 2023 (section 3.4) when `rescale`
/// > 0. Each: [1, channels, h, w].
at::Tensor guide(const at::Tensor& negative, const at::Tensor& positive, double scale, double rescale);

}  // namespace gf::torch
