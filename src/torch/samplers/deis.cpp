// DEIS (Zhang and Chen 2022), log-rho multistep of the second or third order.
#include "torch/samplers/sampler.hpp"

#include <algorithm>

namespace gf::torch {
namespace {

constexpr LevelRules rules{.multistep = true, .round_timesteps = true};

class Deis final : public MultistepSampler {
 public:
  Deis(const SamplerOptions& options, const NoiseLevels& levels, double last)
      : MultistepSampler(options, levels, last),
        order_(static_cast<std::size_t>(options.config.solver_order)),
        ends_low_(options.config.lower_order_final.value_or(true) && levels.timesteps.size() < 15) {}

  at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t call, const NoiseSource&) override {
    const auto from = level(call);
    const auto to = level(call + 1);
    remember((latents - denoised(latents, output, call) * from.alpha).div_(from.sigma), order_);
    const auto left = calls() - 1 - call;
    auto order = std::min(order_, remembered());
    if (ends_low_) order = std::min(order, left + 1);
    if (order == 1) {
      return latents * (to.alpha / from.alpha) - back(0) * (to.sigma * std::expm1(to.lambda - from.lambda));
    }
    auto next = latents / from.alpha;
    for (std::size_t age = 0; age < order; ++age) next.add_(back(age), weight(call, order, age));
    return next.mul_(to.alpha);
  }

 private:
  double log_rho(std::size_t index) const { return std::log(sigmas_[index]); }

  /// The integral over rho, from this level to the next, of the Lagrange polynomial in log rho of `order` levels.
  double weight(std::size_t call, std::size_t order, std::size_t age) const {
    const auto own = log_rho(call - age);
    // The others, newest first from the one after `age`, as the published closed forms order them.
    const auto other = [&](std::size_t k) { return log_rho(call - (age + k) % order); };
    const auto antiderivative = [&](double rho) {
      const auto t = std::log(rho);
      const auto c = other(1);
      if (order == 2) return rho * (t - 1 - c) / (own - c);
      const auto d = other(2);
      return rho * (c * (d - t + 1) - d * t + d + t * t - 2 * t + 2) / ((own - c) * (own - d));
    };
    return antiderivative(sigmas_[call + 1]) - antiderivative(sigmas_[call]);
  }

  std::size_t order_;
  bool ends_low_;
};

}  // namespace

MadeSampler make_deis(const SamplerOptions& options) {
  const auto& config = options.config;
  const auto trained = trained_noise(config, true);
  GF_TRY(const auto levels, noise_levels(config, trained, options.steps, rules));
  // It never ends at 0, where the logarithm has no value.
  const auto last = config.sigmas == SigmaSchedule::normal ? trained.sigmas.front() : levels.sigmas.back();
  return std::unique_ptr<Sampler>(std::make_unique<Deis>(options, levels, last));
}

}  // namespace gf::torch
