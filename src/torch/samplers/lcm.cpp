// Latent consistency models (Luo et al. 2023): each call predicts the picture, and noise takes it to the next level.
#include "torch/samplers/sampler.hpp"

#include <fmt/format.h>

namespace gf::torch {
namespace {

class Lcm final : public TimestepSampler {
 public:
  Lcm(const SamplerOptions& options, std::vector<std::int64_t> timesteps)
      : TimestepSampler(options, std::move(timesteps), options.config.alpha_to_one.value_or(true) ? 1 : -1),
        scaling_(options.config.timestep_scaling) {}

  at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t call,
                  const NoiseSource& noise) override {
    const auto t = timestep(call);
    const auto clean = denoised(latents, output, t);
    // The boundary condition of consistency models (Song et al. 2023), with the data's deviation taken as 0.5.
    constexpr double data = 0.5;
    const auto scaled = static_cast<double>(t) * scaling_;
    const auto keep = data * data / (scaled * scaled + data * data);
    const auto gain = scaled / std::sqrt(scaled * scaled + data * data);
    const auto consistent = clean * gain + latents * keep;
    if (call + 1 == calls()) return consistent;
    const auto now = alpha(t);
    const auto next = alpha(timestep(call + 1));
    return consistent * std::sqrt(next) + noise(std::sqrt(1 / now - 1), std::sqrt(1 / next - 1)) * std::sqrt(1 - next);
  }

 private:
  double scaling_;
};

}  // namespace

MadeSampler make_lcm(const SamplerOptions& options) {
  const auto original = options.config.original_steps;
  if (options.steps < 1 || options.steps > original) {
    return Error{Status::invalid_argument,
                 fmt::format("steps is {}; the sampler lcm takes 1 to {} with this model", options.steps, original),
                 {}};
  }
  // Every k-th timestep that the model was distilled at, from the noisiest down, spread evenly.
  const auto stride = options.config.train_timesteps / original;
  std::vector<std::int64_t> timesteps;
  for (std::int64_t i = 0; i < options.steps; ++i) {
    const auto index = i * original / options.steps;
    timesteps.push_back((original - index) * stride - 1);
  }
  return std::unique_ptr<Sampler>(std::make_unique<Lcm>(options, std::move(timesteps)));
}

}  // namespace gf::torch
