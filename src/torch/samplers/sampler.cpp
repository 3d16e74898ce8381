#include "torch/samplers/sampler.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace gf::torch {
namespace {

/// What schedules a sampler has: those of noise levels, or none but its timesteps' own.
enum class Shapes { all, timesteps_only };

struct Row {
  std::string_view name;
  MadeSampler (*make)(const SamplerOptions&);
  Shapes shapes;
};

constexpr std::array rows = {
    Row{"euler", make_euler, Shapes::all},
    Row{"euler_a", make_euler_ancestral, Shapes::all},
    Row{"heun", make_heun, Shapes::all},
    Row{"dpm2", make_dpm2, Shapes::all},
    Row{"dpm2_a", make_dpm2_ancestral, Shapes::all},
    Row{"lms", make_lms, Shapes::all},
    Row{"dpmpp_2m", make_dpmpp_2m, Shapes::all},
    Row{"dpmpp_2m_sde", make_dpmpp_2m_sde, Shapes::all},
    Row{"dpmpp_sde", make_dpmpp_sde, Shapes::all},
    Row{"dpmpp_2s", make_dpmpp_2s, Shapes::all},
    Row{"dpmpp_3m", make_dpmpp_3m, Shapes::all},
    Row{"dpmpp_3m_sde", make_dpmpp_3m_sde, Shapes::all},
    Row{"ddim", make_ddim, Shapes::timesteps_only},
    Row{"plms", make_plms, Shapes::timesteps_only},
    Row{"pndm", make_pndm, Shapes::timesteps_only},
    Row{"unipc", make_unipc, Shapes::all},
    Row{"deis", make_deis, Shapes::all},
    Row{"lcm", make_lcm, Shapes::timesteps_only},
    Row{"ddpm", make_ddpm, Shapes::timesteps_only},
};

}  // namespace

at::Tensor Sampler::scale_input(const at::Tensor& latents, std::size_t) const { return latents; }

SigmaSampler::SigmaSampler(const SamplerOptions& options, Spacing default_spacing, const NoiseLevels& levels,
                           std::vector<double> timesteps)
    : prediction_(options.config.prediction) {
  for (const auto sigma : levels.sigmas) sigmas_.push_back(static_cast<float>(sigma));
  const auto& config = options.config;
  for (std::size_t i = 0; i < timesteps.size(); ++i) {
    const bool continuous = config.continuous_timesteps && config.prediction == Prediction::v_prediction;
    timesteps_.push_back(continuous ? 0.25f * std::log(sigmas_[i]) : static_cast<float>(timesteps[i]));
  }
  const auto largest = *std::max_element(sigmas_.begin(), sigmas_.end());
  const bool leads = config.spacing.value_or(default_spacing) == Spacing::leading;
  init_noise_sigma_ = leads ? std::sqrt(largest * largest + 1) : largest;
}

at::Tensor SigmaSampler::scale_input(const at::Tensor& latents, std::size_t call) const {
  const auto level = input_sigma(call);
  return latents / std::sqrt(level * level + 1);
}

at::Tensor SigmaSampler::add_noise(const at::Tensor& clean, const at::Tensor& noise, std::size_t call) const {
  return clean + noise * sigma(call);
}

at::Tensor SigmaSampler::denoised(const at::Tensor& latents, const at::Tensor& output, double sigma) const {
  switch (prediction_) {
    case Prediction::epsilon:
      return latents - output * sigma;
    case Prediction::v_prediction:
      return output * (-sigma / std::sqrt(sigma * sigma + 1)) + latents / (sigma * sigma + 1);
    case Prediction::sample:
      break;
  }
  return output;
}

MultistepSampler::MultistepSampler(const SamplerOptions& options, const NoiseLevels& levels, double last_sigma)
    : prediction_(options.config.prediction) {
  for (const auto sigma : levels.sigmas) sigmas_.push_back(static_cast<float>(sigma));
  sigmas_.push_back(static_cast<float>(last_sigma));
  for (const auto t : levels.timesteps) timesteps_.push_back(static_cast<float>(t));
}

MultistepSampler::Level MultistepSampler::level(std::size_t index) const {
  const double ratio = sigmas_[index];
  Level out;
  out.alpha = 1 / std::sqrt(ratio * ratio + 1);
  out.sigma = ratio * out.alpha;
  out.lambda = ratio > 0 ? -std::log(ratio) : std::numeric_limits<double>::infinity();
  return out;
}

at::Tensor MultistepSampler::add_noise(const at::Tensor& clean, const at::Tensor& noise, std::size_t call) const {
  const auto at = level(call);
  return clean * at.alpha + noise * at.sigma;
}

at::Tensor MultistepSampler::denoised(const at::Tensor& latents, const at::Tensor& output, std::size_t call) const {
  const auto at = level(call);
  switch (prediction_) {
    case Prediction::epsilon:
      return (latents - output * at.sigma).div_(at.alpha);
    case Prediction::v_prediction:
      return latents * at.alpha - output * at.sigma;
    case Prediction::sample:
      break;
  }
  return output;
}

void MultistepSampler::remember(at::Tensor output, std::size_t kept) {
  if (outputs_.size() == kept) outputs_.erase(outputs_.begin());
  outputs_.push_back(std::move(output));
}

TimestepSampler::TimestepSampler(const SamplerOptions& options, std::vector<std::int64_t> timesteps, double final_alpha,
                                 bool clips)
    : prediction_(options.config.prediction),
      whole_(std::move(timesteps)),
      alphas_(trained_noise(options.config, false).alphas),
      final_alpha_(final_alpha < 0 ? alphas_.front() : final_alpha),
      clips_(options.config.clip_sample.value_or(clips)),
      clip_range_(options.config.clip_sample_range) {
  for (const auto t : whole_) timesteps_.push_back(static_cast<float>(t));
}

at::Tensor TimestepSampler::add_noise(const at::Tensor& clean, const at::Tensor& noise, std::size_t call) const {
  const auto signal = alpha(timestep(call));
  return clean * std::sqrt(signal) + noise * std::sqrt(1 - signal);
}

at::Tensor TimestepSampler::denoised(const at::Tensor& latents, const at::Tensor& output, std::int64_t timestep) const {
  const auto signal = alpha(timestep);
  auto clean = output;
  switch (prediction_) {
    case Prediction::epsilon:
      clean = (latents - output * std::sqrt(1 - signal)).div_(std::sqrt(signal));
      break;
    case Prediction::v_prediction:
      clean = latents * std::sqrt(signal) - output * std::sqrt(1 - signal);
      break;
    case Prediction::sample:
      break;
  }
  return clips_ ? clean.clamp(-clip_range_, clip_range_) : clean;
}

at::Tensor TimestepSampler::noise_in(const at::Tensor& latents, const at::Tensor& output, std::int64_t timestep) const {
  const auto signal = alpha(timestep);
  switch (prediction_) {
    case Prediction::epsilon:
      break;
    case Prediction::v_prediction:
      return output * std::sqrt(signal) + latents * std::sqrt(1 - signal);
    case Prediction::sample:
      return (latents - output * std::sqrt(signal)) / std::sqrt(1 - signal);
  }
  return output;
}

std::vector<double> doubled(const std::vector<double>& values, std::size_t count) {
  std::vector<double> out;
  for (std::size_t i = 0; i < count; ++i) out.insert(out.end(), i == 0 ? 1 : 2, values[i]);
  return out;
}

Result<std::unique_ptr<Sampler>> make_sampler(std::string_view name, const SamplerOptions& options) {
  const auto* row = std::find_if(rows.begin(), rows.end(), [&](const Row& each) { return each.name == name; });
  if (row == rows.end()) {
    return Error{Status::unsupported, fmt::format("sampler {} is not built into this backend", name), {}};
  }
  return row->make(options);
}

bool has_schedule(std::string_view name, SigmaSchedule schedule) {
  if (schedule == SigmaSchedule::normal) return true;
  const auto* row = std::find_if(rows.begin(), rows.end(), [&](const Row& each) { return each.name == name; });
  return row != rows.end() && row->shapes == Shapes::all;
}

DefaultSampler default_sampler(const SchedulerConfig& config) {
  const std::string_view name = config.class_name;
  if (name == "EulerDiscreteScheduler" || name.empty()) return {"euler", true};
  if (name == "EulerAncestralDiscreteScheduler") return {"euler_a", true};
  if (name == "HeunDiscreteScheduler") return {"heun", true};
  if (name == "KDPM2DiscreteScheduler") return {"dpm2", true};
  if (name == "KDPM2AncestralDiscreteScheduler") return {"dpm2_a", true};
  if (name == "LMSDiscreteScheduler") return {"lms", true};
  if (name == "DPMSolverSDEScheduler") return {"dpmpp_sde", true};
  if (name == "DDIMScheduler") return {"ddim", true};
  if (name == "DDPMScheduler") return {"ddpm", true};
  if (name == "PNDMScheduler") return {config.skip_prk_steps ? "plms" : "pndm", true};
  if (name == "LCMScheduler") return {"lcm", true};
  if (name == "DEISMultistepScheduler") return {"deis", true};
  if (name == "UniPCMultistepScheduler") return {"unipc", true};
  if (name == "DPMSolverSinglestepScheduler") {
    return {"dpmpp_2s", config.algorithm == "dpmsolver++" && config.solver_order == 2};
  }
  if (name == "DPMSolverMultistepScheduler") {
    const bool stochastic = config.algorithm == "sde-dpmsolver++";
    const bool built = (stochastic || config.algorithm == "dpmsolver++") && config.solver_order >= 2;
    if (config.solver_order == 3) return {stochastic ? "dpmpp_3m_sde" : "dpmpp_3m", built};
    return {stochastic ? "dpmpp_2m_sde" : "dpmpp_2m", built};
  }
  return {"euler", false};
}

}  // namespace gf::torch
