// Heun's method: a step of Euler's, and again with the mean of both ends' derivatives.
#include "torch/samplers/sampler.hpp"

namespace gf::torch {
namespace {

constexpr LevelRules rules{};

class Heun final : public SigmaSampler {
 public:
  Heun(const SamplerOptions& options, const NoiseLevels& levels, std::vector<double> timesteps)
      : SigmaSampler(options, rules.spacing, levels, std::move(timesteps)) {}

  std::size_t first_call(std::size_t steps_left_out) const override { return 2 * steps_left_out; }

  // Karras et al. 2022, algorithm 1 without churn.
  at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t call, const NoiseSource&) override {
    if (call % 2 == 0) {
      from_ = latents;
      slope_ = derivative(latents, output, sigma(call));
      return latents + slope_ * (sigma(call + 1) - sigma(call));
    }
    const auto end = derivative(latents, output, sigma(call));
    return from_ + (slope_ + end).div_(2) * (sigma(call) - sigma(call - 1));
  }

 private:
  at::Tensor from_;
  at::Tensor slope_;
};

}  // namespace

MadeSampler make_heun(const SamplerOptions& options) {
  const auto trained = trained_noise(options.config, true);
  GF_TRY(auto levels, noise_levels(options.config, trained, options.steps, rules));
  const auto count = levels.timesteps.size();
  levels.sigmas = doubled(levels.sigmas, count);
  levels.sigmas.push_back(0);
  return std::unique_ptr<Sampler>(std::make_unique<Heun>(options, levels, doubled(levels.timesteps, count)));
}

}  // namespace gf::torch
