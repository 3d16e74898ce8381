#include "torch/schedule.hpp"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace gf::torch {
namespace {

at::Tensor trained_betas(const SchedulerConfig& config) {
  const auto options = at::TensorOptions().dtype(at::kFloat);
  const auto steps = config.train_timesteps;
  at::Tensor betas;
  if (!config.trained_betas.empty()) {
    betas = at::empty({steps}, options);
    for (std::int64_t i = 0; i < steps; ++i) {
      betas.data_ptr<float>()[i] = static_cast<float>(config.trained_betas[static_cast<std::size_t>(i)]);
    }
    return betas;
  }
  if (config.beta_schedule == "linear") return at::linspace(config.beta_start, config.beta_end, steps, options);
  if (config.beta_schedule == "scaled_linear") {
    return at::linspace(std::sqrt(config.beta_start), std::sqrt(config.beta_end), steps, options).square();
  }
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
  return betas;
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

Result<void> check_steps(const SchedulerConfig& config, std::int64_t steps) {
  if (steps >= 1 && steps <= config.train_timesteps) return success();
  return Error{Status::invalid_argument,
               fmt::format("steps is {}; this model's schedule takes 1 to {}", steps, config.train_timesteps),
               {}};
}

std::vector<double> trailing(std::int64_t trained, std::int64_t steps) {
  std::vector<double> out;
  const auto ratio = static_cast<double>(trained) / static_cast<double>(steps);
  for (std::int64_t i = 0; i < steps; ++i) {
    out.push_back(std::nearbyint(static_cast<double>(trained) - static_cast<double>(i) * ratio) - 1);
  }
  return out;
}

std::vector<double> leading(const SchedulerConfig& config, std::int64_t steps, std::int64_t divisor) {
  std::vector<double> out;
  const auto ratio = config.train_timesteps / divisor;
  for (auto i = steps; i-- > 0;) out.push_back(static_cast<double>(i * ratio + config.steps_offset));
  return out;
}

/// Falling timesteps of a run that ends at a level above 0.
std::vector<double> single_timesteps(const SchedulerConfig& config, std::int64_t steps, const LevelRules& rules) {
  switch (config.spacing.value_or(rules.spacing)) {
    case Spacing::leading:
      return leading(config, steps, steps);
    case Spacing::trailing:
      return trailing(config.train_timesteps, steps);
    case Spacing::linspace:
      break;
  }
  auto out = evenly(0, static_cast<double>(config.train_timesteps - 1), steps);
  if (rules.narrow_linspace) {
    for (auto& t : out) t = static_cast<float>(t);
  }
  std::reverse(out.begin(), out.end());
  return out;
}

/// Falling timesteps of a run that is laid out with its end, which is then left off.
std::vector<double> multistep_timesteps(const SchedulerConfig& config, std::int64_t steps, const LevelRules& rules) {
  std::vector<double> out;
  switch (config.spacing.value_or(rules.spacing)) {
    case Spacing::leading:
      out = leading(config, steps + 1, steps + 1);
      break;
    case Spacing::trailing:
      return trailing(config.train_timesteps, steps);
    case Spacing::linspace:
      out = evenly(0, static_cast<double>(config.train_timesteps - 1), steps + 1);
      for (auto& t : out) t = std::nearbyint(t);
      std::reverse(out.begin(), out.end());
      break;
  }
  out.pop_back();
  return out;
}

/// numpy.interp over whole numbers: linear between neighbours, the ends beyond them.
double level_at(double timestep, const std::vector<double>& trained) {
  const auto clamped = std::clamp(timestep, 0.0, static_cast<double>(trained.size() - 1));
  const auto low = static_cast<std::size_t>(clamped);
  const auto high = std::min(low + 1, trained.size() - 1);
  const auto part = clamped - static_cast<double>(low);
  return part == 0 ? trained[low] : trained[low] + (trained[high] - trained[low]) * part;
}

std::vector<double> shaped(SigmaSchedule form, double high, double low, std::int64_t steps) {
  std::vector<double> out;
  switch (form) {
    case SigmaSchedule::karras: {
      // Karras et al. 2022, equation 5, with rho = 7.
      constexpr double rho = 7;
      const auto min_root = std::pow(low, 1 / rho);
      const auto max_root = std::pow(high, 1 / rho);
      out = evenly(0, 1, steps);
      for (auto& sigma : out) sigma = std::pow(max_root + sigma * (min_root - max_root), rho);
      break;
    }
    case SigmaSchedule::exponential:
    case SigmaSchedule::lu:  // Lu et al. 2022, even in lambda: the same as even in the logarithm of sigma.
      out = evenly(std::log(high), std::log(low), steps);
      for (auto& sigma : out) sigma = std::exp(sigma);
      break;
    case SigmaSchedule::normal:
      break;
  }
  return out;
}

Result<void> check_levels(const std::vector<double>& sigmas) {
  for (std::size_t i = 0; i < sigmas.size(); ++i) {
    if (!std::isfinite(static_cast<float>(sigmas[i])) || !(static_cast<float>(sigmas[i]) > 0)) {
      return Error{Status::not_finite,
                   fmt::format("the scheduler's betas give the noise level {} at step {}", sigmas[i], i),
                   {}};
    }
  }
  return success();
}

}  // namespace

TrainedNoise trained_noise(const SchedulerConfig& config, bool keep_above_zero) {
  auto betas = trained_betas(config);
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
  if (config.zero_terminal_snr && keep_above_zero) cumulative[-1] = 0x1p-24;
  const auto sigmas = ((1 - cumulative) / cumulative).sqrt().contiguous();
  cumulative = cumulative.contiguous();
  TrainedNoise out;
  const auto count = config.train_timesteps;
  out.alphas.assign(cumulative.data_ptr<float>(), cumulative.data_ptr<float>() + count);
  out.sigmas.assign(sigmas.data_ptr<float>(), sigmas.data_ptr<float>() + count);
  for (std::int64_t i = 0; i < count; ++i) out.log_sigmas.push_back(std::log(sigmas.data_ptr<float>()[i]));
  return out;
}

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

Result<NoiseLevels> noise_levels(const SchedulerConfig& config, const TrainedNoise& trained, std::int64_t steps,
                                 const LevelRules& rules) {
  GF_TRYV(check_steps(config, steps));
  NoiseLevels out;
  out.timesteps = rules.multistep ? multistep_timesteps(config, steps, rules) : single_timesteps(config, steps, rules);
  if (config.log_linear && !rules.multistep) {
    // steps + 1 levels, of which the last is the end of the run: this form ends above zero.
    const auto options = at::TensorOptions().dtype(at::kFloat);
    const auto logs =
        at::linspace(std::log(trained.sigmas.back()), std::log(trained.sigmas.front()), steps + 1, options).exp();
    out.sigmas.assign(logs.data_ptr<float>(), logs.data_ptr<float>() + steps + 1);
  } else {
    for (const auto t : out.timesteps) out.sigmas.push_back(level_at(t, trained.sigmas));
  }
  if (config.sigmas != SigmaSchedule::normal) {
    const auto high = config.sigma_max.value_or(rules.multistep ? trained.sigmas.back() : out.sigmas.front());
    const auto low = config.sigma_min.value_or(rules.multistep ? trained.sigmas.front() : out.sigmas.back());
    out.sigmas = shaped(config.sigmas, high, low, steps);
    out.timesteps.clear();
    const bool round = rules.round_timesteps && config.sigmas != SigmaSchedule::exponential;
    for (const auto sigma : out.sigmas) {
      const auto t = timestep_of(sigma, trained.log_sigmas);
      // A multistep scheduler's timesteps are whole numbers in the end, rounded or cut.
      out.timesteps.push_back(round ? std::nearbyint(t) : rules.multistep ? std::trunc(t) : t);
    }
  }
  GF_TRYV(check_levels(out.sigmas));
  return out;
}

Result<std::vector<std::int64_t>> whole_timesteps(const SchedulerConfig& config, std::int64_t steps) {
  GF_TRYV(check_steps(config, steps));
  const auto spaced = single_timesteps(config, steps, {.spacing = Spacing::leading, .narrow_linspace = false});
  std::vector<std::int64_t> out;
  for (const auto t : spaced) {
    const auto whole = static_cast<std::int64_t>(std::nearbyint(t));
    if (whole < 0 || whole >= config.train_timesteps) {
      return Error{Status::invalid_argument,
                   fmt::format("steps is {}: with the model's steps_offset {} its schedule leaves the {} trained "
                               "timesteps; take fewer steps",
                               steps, config.steps_offset, config.train_timesteps),
                   {}};
    }
    out.push_back(whole);
  }
  return out;
}

Result<void> noise_levels_are_sound(const SchedulerConfig& config, const std::string& path) {
  const auto steps = std::min<std::int64_t>(config.train_timesteps, 20);
  const auto levels = noise_levels(config, trained_noise(config, true), steps, {});
  if (levels.has_value()) return success();
  return Error{Status::corrupt_file, fmt::format("{}: {}", path, levels.error().message), {}};
}

}  // namespace gf::torch
