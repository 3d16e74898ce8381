// Samplers: what the network is called with, and one step from what it answers. One small file a sampler.
#pragma once

#include "base/result.hpp"
#include "torch/config.hpp"
#include "torch/schedule.hpp"

#include <ATen/ATen.h>

#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gf::torch {

/// Standard normal noise of the latents' shape, for a step from one noise level to another.
using NoiseSource = std::function<at::Tensor(double from_sigma, double to_sigma)>;

/// One run's steps. A call is one evaluation of the network; some samplers make two a step. Calls are numbered from 0;
/// a run may begin at a later one (image to image), then they follow one another. Not synchronised; the run owns it.
class Sampler {
 public:
  virtual ~Sampler() = default;
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  std::size_t calls() const { return timesteps_.size(); }
  /// What the network is told, one value a call.
  const std::vector<float>& timesteps() const { return timesteps_; }
  /// The noise levels, as diffusers lays them out; empty for samplers that step along the timesteps alone.
  const std::vector<float>& sigmas() const { return sigmas_; }
  /// Standard normal latents are multiplied by this at the start.
  float init_noise_sigma() const { return init_noise_sigma_; }
  /// The call at which a run begins that leaves out its first steps.
  virtual std::size_t first_call(std::size_t steps_left_out) const { return steps_left_out; }
  /// Whether noise of overlapping steps must belong to one Brownian path.
  virtual bool wants_brownian_noise() const { return false; }

  /// Latents to the network's input.
  virtual at::Tensor scale_input(const at::Tensor& latents, std::size_t call) const;
  /// Latents and the network's (guided) output to the next latents. float32.
  virtual at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t call,
                          const NoiseSource& noise) = 0;
  /// A clean picture's latents with the noise of the level at which `call` begins.
  virtual at::Tensor add_noise(const at::Tensor& clean, const at::Tensor& noise, std::size_t call) const = 0;

 protected:
  Sampler() = default;

  std::vector<float> timesteps_;
  std::vector<float> sigmas_;
  float init_noise_sigma_ = 1;
};

/// A run's request of a sampler.
struct SamplerOptions {
  SchedulerConfig config;
  std::int64_t steps = 20;
  double eta = 0;  ///< DDIM: 0 draws nothing, 1 as much as DDPM.
};

/// Latents are picture + sigma * noise (Karras et al. 2022).
class SigmaSampler : public Sampler {
 public:
  at::Tensor scale_input(const at::Tensor& latents, std::size_t call) const override;
  at::Tensor add_noise(const at::Tensor& clean, const at::Tensor& noise, std::size_t call) const override;

 protected:
  /// Takes the levels in diffusers' layout, and the timesteps as they are.
  SigmaSampler(const SamplerOptions& options, Spacing default_spacing, const NoiseLevels& levels,
               std::vector<double> timesteps);

  /// The level at which `call` evaluates the network.
  virtual double input_sigma(std::size_t call) const { return sigma(call); }
  double sigma(std::size_t index) const { return sigmas_[index]; }
  /// The clean latents that the output stands for.
  at::Tensor denoised(const at::Tensor& latents, const at::Tensor& output, double sigma) const;
  /// d latents / d sigma.
  at::Tensor derivative(const at::Tensor& latents, const at::Tensor& output, double sigma) const {
    return (latents - denoised(latents, output, sigma)).div_(sigma);
  }

 private:
  Prediction prediction_;
};

/// Latents are alpha * picture + sigma * noise with alpha^2 + sigma^2 = 1, and levels are laid out by sigma / alpha.
class MultistepSampler : public Sampler {
 public:
  at::Tensor add_noise(const at::Tensor& clean, const at::Tensor& noise, std::size_t call) const override;

 protected:
  MultistepSampler(const SamplerOptions& options, const NoiseLevels& levels, double last_sigma);

  /// One level's numbers.
  struct Level {
    double alpha = 1;
    double sigma = 0;
    double lambda = 0;  ///< log(alpha / sigma); infinite at sigma 0.
  };
  Level level(std::size_t index) const;
  at::Tensor denoised(const at::Tensor& latents, const at::Tensor& output, std::size_t call) const;
  /// Pushes what the network said in this call; `back(0)` is the newest. At most `kept` are held.
  void remember(at::Tensor output, std::size_t kept);
  const at::Tensor& back(std::size_t age) const { return outputs_[outputs_.size() - 1 - age]; }
  std::size_t remembered() const { return outputs_.size(); }

 private:
  Prediction prediction_;
  std::vector<at::Tensor> outputs_;
};

/// Latents as above, and levels are those of whole trained timesteps.
class TimestepSampler : public Sampler {
 public:
  at::Tensor add_noise(const at::Tensor& clean, const at::Tensor& noise, std::size_t call) const override;

 protected:
  /// `clips`: whether a predicted picture is clamped where the config does not say.
  TimestepSampler(const SamplerOptions& options, std::vector<std::int64_t> timesteps, double final_alpha,
                  bool clips = false);

  std::int64_t timestep(std::size_t call) const { return whole_[call]; }
  /// Cumulative alpha of a trained timestep; of a negative one the final alpha.
  double alpha(std::int64_t timestep) const {
    return timestep < 0 ? final_alpha_ : alphas_[static_cast<std::size_t>(timestep)];
  }
  /// The clean latents that the output stands for, clamped where the sampler does that.
  at::Tensor denoised(const at::Tensor& latents, const at::Tensor& output, std::int64_t timestep) const;
  /// The noise that the output stands for.
  at::Tensor noise_in(const at::Tensor& latents, const at::Tensor& output, std::int64_t timestep) const;

 private:
  Prediction prediction_;
  std::vector<std::int64_t> whole_;
  std::vector<float> alphas_;
  double final_alpha_;
  bool clips_;
  double clip_range_;
};

/// The first value once, those after it twice: of samplers that make two calls a step, but for the last.
std::vector<double> doubled(const std::vector<double>& values, std::size_t count);

/// `name` is canonical, as in pipeline/samplers.cpp. Errors: unsupported; invalid_argument and not_finite as
/// noise_levels gives them.
Result<std::unique_ptr<Sampler>> make_sampler(std::string_view name, const SamplerOptions& options);

/// Whether the sampler steps along noise levels, so that Karras' and other forms of them apply.
bool has_schedule(std::string_view name, SigmaSchedule schedule);

/// The sampler that a model's scheduler stands for, or "euler" where that one is not built; `exact` tells which.
struct DefaultSampler {
  std::string_view name;
  bool exact = true;
};
DefaultSampler default_sampler(const SchedulerConfig& config);

// Each sampler's maker, for the table in sampler.cpp.
using MadeSampler = Result<std::unique_ptr<Sampler>>;
MadeSampler make_euler(const SamplerOptions& options);
MadeSampler make_euler_ancestral(const SamplerOptions& options);
MadeSampler make_heun(const SamplerOptions& options);
MadeSampler make_dpm2(const SamplerOptions& options);
MadeSampler make_dpm2_ancestral(const SamplerOptions& options);
MadeSampler make_lms(const SamplerOptions& options);
MadeSampler make_dpmpp_2m(const SamplerOptions& options);
MadeSampler make_dpmpp_2m_sde(const SamplerOptions& options);
MadeSampler make_dpmpp_3m(const SamplerOptions& options);
MadeSampler make_dpmpp_3m_sde(const SamplerOptions& options);
MadeSampler make_dpmpp_2s(const SamplerOptions& options);
MadeSampler make_dpmpp_sde(const SamplerOptions& options);
MadeSampler make_ddim(const SamplerOptions& options);
MadeSampler make_ddpm(const SamplerOptions& options);
MadeSampler make_plms(const SamplerOptions& options);
MadeSampler make_pndm(const SamplerOptions& options);
MadeSampler make_unipc(const SamplerOptions& options);
MadeSampler make_deis(const SamplerOptions& options);
MadeSampler make_lcm(const SamplerOptions& options);

}  // namespace gf::torch
