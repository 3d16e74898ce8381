// DPM-Solver++ (SDE) in k-diffusion's form: half a step to the middle, then the whole step with what was found there,
// each with noise of one Brownian path.
#include "torch/samplers/sampler.hpp"

#include <algorithm>

namespace gf::torch {
namespace {

constexpr LevelRules rules{.narrow_linspace = false};

class DpmppSde final : public SigmaSampler {
 public:
  DpmppSde(const SamplerOptions& options, const NoiseLevels& levels, std::vector<double> timesteps)
      : SigmaSampler(options, rules.spacing, levels, std::move(timesteps)) {}

  std::size_t first_call(std::size_t steps_left_out) const override { return 2 * steps_left_out; }
  bool wants_brownian_noise() const override { return true; }

  at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t call,
                  const NoiseSource& noise) override {
    const bool half = call % 2 == 0;
    const auto from = half ? sigma(call) : sigma(call - 1);
    const auto end = half ? sigma(call + 1) : sigma(call);
    const auto clean = denoised(latents, output, input_sigma(call));
    if (end == 0) return (latents - clean).mul_((end - from) / from).add_(latents);
    if (half) from_ = latents;
    const auto to = half ? std::sqrt(from * end) : end;
    const auto up = std::min(to, std::sqrt(to * to * (from * from - to * to) / (from * from)));
    const auto down = std::sqrt(to * to - up * up);
    return from_ * (down / from) + clean * (1 - down / from) + noise(from, to) * up;
  }

 protected:
  double input_sigma(std::size_t call) const override {
    // A second call stands between two different levels.
    return call % 2 == 0 ? sigma(call) : std::sqrt(sigma(call - 1) * sigma(call));
  }

 private:
  at::Tensor from_;
};

}  // namespace

MadeSampler make_dpmpp_sde(const SamplerOptions& options) {
  const auto trained = trained_noise(options.config, true);
  GF_TRY(const auto single, noise_levels(options.config, trained, options.steps, rules));
  NoiseLevels levels;
  const auto count = single.timesteps.size();
  levels.sigmas = doubled(single.sigmas, count);
  std::vector<double> timesteps;
  for (std::size_t i = 0; i < count; ++i) {
    timesteps.push_back(single.timesteps[i]);
    if (i + 1 < count) {
      timesteps.push_back(timestep_of(std::sqrt(single.sigmas[i] * single.sigmas[i + 1]), trained.log_sigmas));
    }
  }
  levels.sigmas.push_back(0);
  return std::unique_ptr<Sampler>(std::make_unique<DpmppSde>(options, levels, std::move(timesteps)));
}

}  // namespace gf::torch
