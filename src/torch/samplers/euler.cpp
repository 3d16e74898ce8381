// Euler and Euler ancestral.
#include "torch/samplers/sampler.hpp"

namespace gf::torch {
namespace {

constexpr LevelRules rules{};

class Euler final : public SigmaSampler {
 public:
  Euler(const SamplerOptions& options, const NoiseLevels& levels)
      : SigmaSampler(options, rules.spacing, levels, levels.timesteps) {}

  // Karras et al. 2022, algorithm 2 without churn.
  at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t call, const NoiseSource&) override {
    return derivative(latents, output, sigma(call)).mul_(sigma(call + 1) - sigma(call)).add_(latents);
  }
};

class EulerAncestral final : public SigmaSampler {
 public:
  EulerAncestral(const SamplerOptions& options, const NoiseLevels& levels)
      : SigmaSampler(options, rules.spacing, levels, levels.timesteps) {}

  // A step of Euler's to a level below the next, and fresh noise up to it (k-diffusion's ancestral step).
  at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t call,
                  const NoiseSource& noise) override {
    const auto from = sigma(call);
    const auto to = sigma(call + 1);
    const auto up = std::sqrt(to * to * (from * from - to * to) / (from * from));
    const auto down = std::sqrt(to * to - up * up);
    // Noise is drawn on the last step too, where it counts for nothing: so the generator's state is diffusers'.
    return derivative(latents, output, from).mul_(down - from).add_(latents).add_(noise(from, to), up);
  }
};

Result<NoiseLevels> levels_to_the_end(const SamplerOptions& options) {
  const auto trained = trained_noise(options.config, true);
  GF_TRY(auto levels, noise_levels(options.config, trained, options.steps, rules));
  if (levels.sigmas.size() == levels.timesteps.size()) {
    levels.sigmas.push_back(options.config.final_sigma_min ? trained.sigmas.front() : 0);
  }
  return levels;
}

}  // namespace

MadeSampler make_euler(const SamplerOptions& options) {
  GF_TRY(const auto levels, levels_to_the_end(options));
  return std::unique_ptr<Sampler>(std::make_unique<Euler>(options, levels));
}

MadeSampler make_euler_ancestral(const SamplerOptions& options) {
  GF_TRY(const auto levels, levels_to_the_end(options));
  return std::unique_ptr<Sampler>(std::make_unique<EulerAncestral>(options, levels));
}

}  // namespace gf::torch
