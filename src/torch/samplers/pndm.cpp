// Pseudo numerical methods (Liu et al. 2022): PLMS, and PNDM, which begins with three Runge-Kutta steps.
#include "torch/samplers/sampler.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace gf::torch {
namespace {

constexpr std::size_t runge_kutta_steps = 3;

class Pndm final : public TimestepSampler {
 public:
  Pndm(const SamplerOptions& options, std::vector<std::int64_t> timesteps, std::size_t prefix)
      : TimestepSampler(options, std::move(timesteps), options.config.alpha_to_one.value_or(false) ? 1 : -1),
        stride_(options.config.train_timesteps / options.steps),
        prefix_(prefix) {}

  std::size_t first_call(std::size_t steps_left_out) const override {
    if (prefix_ == 0) return steps_left_out;
    constexpr std::size_t calls_of_one = 4;
    const auto whole = std::min(steps_left_out, runge_kutta_steps);
    return whole * calls_of_one + (steps_left_out - whole);
  }

  // PLMS counts from the run's first call, wherever that is, as diffusers does.
  at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t call, const NoiseSource&) override {
    if (call < prefix_) return runge_kutta(latents, output, call);
    // After the Runge-Kutta start, or without it by a later beginning, no first step is there to correct.
    const auto count = prefix_ > 0 ? 2 : count_++;
    return multistep(latents, output, call, count);
  }

 private:
  at::Tensor runge_kutta(const at::Tensor& latents, const at::Tensor& output, std::size_t call) {
    const auto next = timestep(call) - (call % 2 == 0 ? stride_ / 2 : 0);
    const auto begin = timestep(call - call % 4);
    auto slope = output;
    switch (call % 4) {
      case 0:
        outputs_.push_back(output);
        sum_ = output / 6;
        from_ = latents;
        break;
      case 1:
      case 2:
        sum_ = sum_ + output / 3;
        break;
      default:
        slope = sum_ + output / 6;
        break;
    }
    return moved(from_, slope, begin, next);
  }

  at::Tensor multistep(const at::Tensor& latents, const at::Tensor& output, std::size_t call, std::size_t count) {
    auto t = timestep(call);
    auto next = t - stride_;
    auto from = latents;
    if (count != 1) {
      if (outputs_.size() > 3) outputs_.erase(outputs_.begin(), outputs_.end() - 3);
      outputs_.push_back(output);
    } else {
      // The second call corrects the first step, from where that began.
      next = t;
      t += stride_;
    }
    const auto e = [&](std::size_t age) -> const at::Tensor& { return outputs_[outputs_.size() - age]; };
    at::Tensor slope;
    switch (outputs_.size()) {
      case 1:
        slope = count == 0 ? output : (output + e(1)) / 2;
        if (count == 0) from_ = latents;
        if (count == 1) from = from_;
        break;
      case 2:
        slope = (3 * e(1) - e(2)) / 2;
        break;
      case 3:
        slope = (23 * e(1) - 16 * e(2) + 5 * e(3)) / 12;
        break;
      default:
        slope = (55 * e(1) - 59 * e(2) + 37 * e(3) - 9 * e(4)) / 24;
        break;
    }
    return moved(from, slope, t, next);
  }

  // Equation 11.
  at::Tensor moved(const at::Tensor& latents, const at::Tensor& output, std::int64_t t, std::int64_t to) const {
    const auto now = alpha(t);
    const auto next = alpha(to);
    const auto divisor = now * std::sqrt(1 - next) + std::sqrt(now * (1 - now) * next);
    return latents * std::sqrt(next / now) - noise_in(latents, output, t) * ((next - now) / divisor);
  }

  std::int64_t stride_;
  std::size_t prefix_;  // Calls of the Runge-Kutta start.
  std::size_t count_ = 0;
  std::vector<at::Tensor> outputs_;
  at::Tensor from_;
  at::Tensor sum_;
};

Result<std::vector<std::int64_t>> spaced(const SamplerOptions& options) {
  if (options.config.prediction == Prediction::sample) {
    return Error{Status::unsupported, "PLMS and PNDM do not serve models that predict the picture itself", {}};
  }
  return whole_timesteps(options.config, options.steps);
}

}  // namespace

MadeSampler make_plms(const SamplerOptions& options) {
  GF_TRY(const auto falling, spaced(options));
  // The second timestep twice: the first step is done again with what was found at its end.
  std::vector<std::int64_t> timesteps = falling;
  if (falling.size() > 1) timesteps.insert(timesteps.begin() + 1, falling[1]);
  return std::unique_ptr<Sampler>(std::make_unique<Pndm>(options, std::move(timesteps), 0));
}

MadeSampler make_pndm(const SamplerOptions& options) {
  GF_TRY(const auto falling, spaced(options));
  if (falling.size() <= runge_kutta_steps) {
    return Error{Status::invalid_argument,
                 fmt::format("steps is {}; the sampler pndm takes at least {}", falling.size(), runge_kutta_steps + 1),
                 {}};
  }
  // Each of the first three steps visits its beginning, twice its middle, and its end, where the next begins.
  const auto half = options.config.train_timesteps / options.steps / 2;
  std::vector<std::int64_t> timesteps;
  for (std::size_t i = 0; i < runge_kutta_steps; ++i) {
    const auto middle = falling[i + 1] + half;
    timesteps.insert(timesteps.end(), {falling[i], middle, middle, falling[i + 1]});
  }
  const auto prefix = timesteps.size();
  timesteps.insert(timesteps.end(), falling.begin() + runge_kutta_steps, falling.end());
  return std::unique_ptr<Sampler>(std::make_unique<Pndm>(options, std::move(timesteps), prefix));
}

}  // namespace gf::torch
