#include "torch/sampler.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace gf::torch {
namespace {

/// Cumulative products of (1 - beta): how much of the picture is left at each trained timestep. Computed with ATen's
/// own functions in float32, as diffusers does, so that the last bit agrees too.
at::Tensor alphas_cumulative(const SchedulerConfig& config) {
  const auto options = at::TensorOptions().dtype(at::kFloat);
  const auto steps = config.train_timesteps;
  at::Tensor betas;
  if (!config.trained_betas.empty()) {
    betas = at::empty({steps}, options);
    for (std::int64_t i = 0; i < steps; ++i) {
      betas.data_ptr<float>()[i] = static_cast<float>(config.trained_betas[static_cast<std::size_t>(i)]);
    }
  } else if (config.beta_schedule == "linear") {
    betas = at::linspace(config.beta_start, config.beta_end, steps, options);
  } else if (config.beta_schedule == "scaled_linear") {
    betas = at::linspace(std::sqrt(config.beta_start), std::sqrt(config.beta_end), steps, options).square();
  } else {
    // squaredcos_cap_v2: Nichol and Dhariwal 2021, section 3.2.
    const auto bar = [](double t) {
      const auto c = std::cos((t + 0.008) / 1.008 * M_PI / 2);
      return c * c;
    };
    betas = at::empty({steps}, options);
    for (std::int64_t i = 0; i < steps; ++i) {
      const auto t1 = static_cast<double>(i) / static_cast<double>(steps);
      const auto t2 = static_cast<double>(i + 1) / static_cast<double>(steps);
      betas.data_ptr<float>()[i] = static_cast<float>(std::min(1 - bar(t2) / bar(t1), 0.999));
    }
  }
  if (config.zero_terminal_snr) {
    // Lin et al. 2023, algorithm 1.
    auto root = at::cumprod(1.0 - betas, 0).sqrt();
    const auto first = root[0].clone();
    const auto last = root[-1].clone();
    root = (root - last) * (first / (first - last));
    const auto bar = root.square();
    const auto ratios = bar.slice(0, 1) / bar.slice(0, 0, -1);
    betas = 1 - at::cat({bar.slice(0, 0, 1), ratios});
  }
  auto cumulative = at::cumprod(1.0 - betas, 0);
  // Close to 0 without being 0, so that the first sigma is not infinite: diffusers' own constant.
  if (config.zero_terminal_snr) cumulative[-1] = 0x1p-24;
  return cumulative;
}

/// The trained timestep, as a real number, whose noise level is `sigma`.
double timestep_of(double sigma, const std::vector<double>& log_sigmas) {
  const auto log_sigma = std::log(std::max(sigma, 1e-10));
  const auto above = std::upper_bound(log_sigmas.begin(), log_sigmas.end(), log_sigma);
  auto low = above == log_sigmas.begin() ? 0 : above - log_sigmas.begin() - 1;
  low = std::min<std::ptrdiff_t>(low, static_cast<std::ptrdiff_t>(log_sigmas.size()) - 2);
  const auto first = log_sigmas[static_cast<std::size_t>(low)];
  const auto second = log_sigmas[static_cast<std::size_t>(low) + 1];
  const auto weight = std::clamp((first - log_sigma) / (first - second), 0.0, 1.0);
  return (1 - weight) * static_cast<double>(low) + weight * static_cast<double>(low + 1);
}

/// numpy.linspace of `count` values.
std::vector<double> evenly(double from, double to, std::int64_t count) {
  std::vector<double> values(static_cast<std::size_t>(count), from);
  if (count > 1) {
    const auto step = (to - from) / static_cast<double>(count - 1);
    for (std::int64_t i = 0; i < count; ++i) values[static_cast<std::size_t>(i)] = from + static_cast<double>(i) * step;
    values.back() = to;
  }
  return values;
}

class Euler final : public Sampler {
 public:
  Euler(NoiseLevels levels, Prediction prediction) : Sampler(std::move(levels), prediction) {}

  // Karras et al. 2022, algorithm 2 without churn.
  at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t step, const NoiseSource&) override {
    const auto sigma = levels_.sigmas[step];
    const auto derivative = (latents - denoised(latents, output, sigma)).div_(sigma);
    return derivative.mul_(levels_.sigmas[step + 1] - sigma).add_(latents);
  }
};

class EulerAncestral final : public Sampler {
 public:
  EulerAncestral(NoiseLevels levels, Prediction prediction) : Sampler(std::move(levels), prediction) {}

  at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t step,
                  const NoiseSource& noise) override {
    const auto from = levels_.sigmas[step];
    const auto to = levels_.sigmas[step + 1];
    const auto up = std::sqrt(to * to * (from * from - to * to) / (from * from));
    const auto down = std::sqrt(to * to - up * up);
    const auto derivative = (latents - denoised(latents, output, from)).div_(from);
    // Noise is drawn on the last step too, where it counts for nothing: so the generator's state is diffusers'.
    return derivative.mul_(down - from).add_(latents).add_(noise(), up);
  }
};

}  // namespace

Result<NoiseLevels> noise_levels(const SchedulerConfig& config, std::int64_t steps) {
  if (steps < 1 || steps > config.train_timesteps) {
    return Error{Status::invalid_argument,
                 fmt::format("steps is {}; this model's schedule takes 1 to {}", steps, config.train_timesteps),
                 {}};
  }
  const auto cumulative = alphas_cumulative(config);
  const auto trained_tensor = ((1 - cumulative) / cumulative).sqrt().contiguous();
  const auto* trained_floats = trained_tensor.data_ptr<float>();
  const std::vector<double> trained(trained_floats, trained_floats + config.train_timesteps);
  const auto last_timestep = static_cast<double>(config.train_timesteps - 1);

  std::vector<double> timesteps;
  switch (config.spacing) {
    case Spacing::linspace:
      timesteps = evenly(0, last_timestep, steps);
      for (auto& t : timesteps) t = static_cast<float>(t);  // Before the interpolation, as diffusers does.
      std::reverse(timesteps.begin(), timesteps.end());
      break;
    case Spacing::leading: {
      const auto ratio = config.train_timesteps / steps;
      for (auto i = steps; i-- > 0;) timesteps.push_back(static_cast<double>(i * ratio + config.steps_offset));
      break;
    }
    case Spacing::trailing: {
      const auto ratio = static_cast<double>(config.train_timesteps) / static_cast<double>(steps);
      for (std::int64_t i = 0; i < steps; ++i) {
        timesteps.push_back(
            std::nearbyint(static_cast<double>(config.train_timesteps) - static_cast<double>(i) * ratio) - 1);
      }
      break;
    }
  }

  std::vector<double> sigmas;
  if (config.log_linear) {
    // steps + 1 levels, of which the last is the end of the run: this form ends above zero.
    const auto options = at::TensorOptions().dtype(at::kFloat);
    const auto logs = at::linspace(std::log(trained.back()), std::log(trained.front()), steps + 1, options).exp();
    sigmas.assign(logs.data_ptr<float>(), logs.data_ptr<float>() + steps + 1);
  } else {
    for (const auto t : timesteps) {
      // numpy.interp over whole numbers: linear between neighbours, the ends beyond them.
      const auto clamped = std::clamp(t, 0.0, last_timestep);
      const auto low = static_cast<std::size_t>(clamped);
      const auto high = std::min(low + 1, trained.size() - 1);
      sigmas.push_back(trained[low] + (trained[high] - trained[low]) * (clamped - static_cast<double>(low)));
    }
  }

  if (config.sigmas != SigmaSchedule::normal) {
    std::vector<double> log_sigmas;
    for (std::int64_t i = 0; i < config.train_timesteps; ++i) log_sigmas.push_back(std::log(trained_floats[i]));
    const auto low = config.sigma_min.value_or(sigmas.back());
    const auto high = config.sigma_max.value_or(sigmas.front());
    if (config.sigmas == SigmaSchedule::karras) {
      // Karras et al. 2022, equation 5, with rho = 7.
      constexpr double rho = 7;
      const auto min_root = std::pow(low, 1 / rho);
      const auto max_root = std::pow(high, 1 / rho);
      sigmas = evenly(0, 1, steps);
      for (auto& sigma : sigmas) sigma = std::pow(max_root + sigma * (min_root - max_root), rho);
    } else {
      sigmas = evenly(std::log(high), std::log(low), steps);
      for (auto& sigma : sigmas) sigma = std::exp(sigma);
    }
    timesteps.clear();
    for (const auto sigma : sigmas) timesteps.push_back(timestep_of(sigma, log_sigmas));
  }

  NoiseLevels levels;
  for (const auto sigma : sigmas) levels.sigmas.push_back(static_cast<float>(sigma));
  if (levels.sigmas.size() == timesteps.size())
    levels.sigmas.push_back(config.final_sigma_min ? trained_floats[0] : 0.0f);
  for (std::size_t i = 0; i < timesteps.size(); ++i) {
    const bool continuous = config.continuous_timesteps && config.prediction == Prediction::v_prediction;
    levels.timesteps.push_back(continuous ? 0.25f * std::log(levels.sigmas[i]) : static_cast<float>(timesteps[i]));
  }
  const auto largest = *std::max_element(levels.sigmas.begin(), levels.sigmas.end());
  levels.init_noise_sigma = config.spacing == Spacing::leading ? std::sqrt(largest * largest + 1) : largest;
  for (std::size_t i = 0; i < levels.sigmas.size(); ++i) {
    const bool last = i + 1 == levels.sigmas.size();
    if (!std::isfinite(levels.sigmas[i]) || (!last && !(levels.sigmas[i] > 0)) ||
        !std::isfinite(levels.init_noise_sigma)) {
      return Error{Status::not_finite,
                   fmt::format("the scheduler's betas give the noise level {} at step {}", levels.sigmas[i], i),
                   {}};
    }
  }
  return levels;
}

Result<void> noise_levels_are_sound(const SchedulerConfig& config, const std::string& path) {
  const auto levels = noise_levels(config, std::min<std::int64_t>(config.train_timesteps, 20));
  if (levels.has_value()) return success();
  return Error{Status::corrupt_file, fmt::format("{}: {}", path, levels.error().message), {}};
}

at::Tensor Sampler::scale_input(const at::Tensor& latents, std::size_t step) const {
  const auto sigma = levels_.sigmas[step];
  return latents / std::sqrt(sigma * sigma + 1);
}

at::Tensor Sampler::denoised(const at::Tensor& latents, const at::Tensor& output, float sigma) const {
  switch (prediction_) {
    case Prediction::epsilon:
      return latents - sigma * output;
    case Prediction::v_prediction:
      return output * (-sigma / std::sqrt(sigma * sigma + 1)) + latents / (sigma * sigma + 1);
    case Prediction::sample:
      break;
  }
  return output;
}

Result<std::unique_ptr<Sampler>> make_sampler(std::string_view name, const SchedulerConfig& config,
                                              std::int64_t steps) {
  if (name != "euler" && name != "euler_a") {
    return Error{Status::unsupported, fmt::format("sampler {} is not built into this backend", name), {}};
  }
  GF_TRY(auto levels, noise_levels(config, steps));
  if (name == "euler_a") {
    return std::unique_ptr<Sampler>(std::make_unique<EulerAncestral>(std::move(levels), config.prediction));
  }
  return std::unique_ptr<Sampler>(std::make_unique<Euler>(std::move(levels), config.prediction));
}

DefaultSampler default_sampler(std::string_view scheduler_class) {
  if (scheduler_class == "EulerDiscreteScheduler" || scheduler_class.empty()) return {"euler", true};
  if (scheduler_class == "EulerAncestralDiscreteScheduler") return {"euler_a", true};
  return {"euler", false};
}

at::Tensor guide(const at::Tensor& negative, const at::Tensor& positive, double scale, double rescale) {
  const auto guided = negative + (positive - negative) * scale;
  if (rescale <= 0) return guided;
  // The standard deviation over all but the batch, with Bessel's correction, as torch.std has it.
  const std::vector<std::int64_t> dims = {1, 2, 3};
  const auto positive_deviation = positive.std(dims, true, true);
  const auto guided_deviation = guided.std(dims, true, true);
  const auto rescaled = guided * (positive_deviation / guided_deviation);
  return rescaled * rescale + guided * (1 - rescale);
}

}  // namespace gf::torch
