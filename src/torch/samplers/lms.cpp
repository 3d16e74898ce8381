// Linear multistep: the derivatives of up to four steps, extrapolated by a polynomial (k-diffusion's LMS).
#include "torch/samplers/sampler.hpp"

#include <algorithm>

namespace gf::torch {
namespace {

constexpr LevelRules rules{};
constexpr std::size_t most_derivatives = 4;

class Lms final : public SigmaSampler {
 public:
  Lms(const SamplerOptions& options, const NoiseLevels& levels)
      : SigmaSampler(options, rules.spacing, levels, levels.timesteps) {}

  at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t call, const NoiseSource&) override {
    if (derivatives_.size() == most_derivatives) derivatives_.erase(derivatives_.begin());
    derivatives_.push_back(derivative(latents, output, sigma(call)));
    const auto order = derivatives_.size();
    auto next = latents.clone();
    for (std::size_t age = 0; age < order; ++age) next.add_(derivatives_[order - 1 - age], weight(call, order, age));
    return next;
  }

 private:
  /// The integral over the step of the Lagrange polynomial that is 1 at the level of `age` calls before. Its degree is
  /// at most 3, for which Gauss's rule with two points is exact.
  double weight(std::size_t call, std::size_t order, std::size_t age) const {
    const auto polynomial = [&](double at) {
      double product = 1;
      for (std::size_t other = 0; other < order; ++other) {
        if (other == age) continue;
        product *= (at - sigma(call - other)) / (sigma(call - age) - sigma(call - other));
      }
      return product;
    };
    const auto middle = (sigma(call) + sigma(call + 1)) / 2;
    const auto half = (sigma(call + 1) - sigma(call)) / 2;
    const auto offset = half / std::sqrt(3.0);
    return half * (polynomial(middle - offset) + polynomial(middle + offset));
  }

  std::vector<at::Tensor> derivatives_;
};

}  // namespace

MadeSampler make_lms(const SamplerOptions& options) {
  const auto trained = trained_noise(options.config, true);
  GF_TRY(auto levels, noise_levels(options.config, trained, options.steps, rules));
  if (levels.sigmas.size() == levels.timesteps.size()) levels.sigmas.push_back(0);
  return std::unique_ptr<Sampler>(std::make_unique<Lms>(options, levels));
}

}  // namespace gf::torch
