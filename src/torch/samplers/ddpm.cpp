// DDPM (Ho et al. 2020): the ancestral steps of the model as it was trained.
#include "torch/samplers/sampler.hpp"

#include <algorithm>

namespace gf::torch {
namespace {

class Ddpm final : public TimestepSampler {
 public:
  Ddpm(const SamplerOptions& options, std::vector<std::int64_t> timesteps)
      : TimestepSampler(options, std::move(timesteps), 1, options.config.class_name == "DDPMScheduler"),
        large_variance_(options.config.large_variance) {}

  // Formulas 6 and 7.
  at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t call,
                  const NoiseSource& noise) override {
    const auto t = timestep(call);
    const auto now = alpha(t);
    const auto next = alpha(call + 1 < calls() ? timestep(call + 1) : -1);
    const auto beta = 1 - now / next;
    const auto clean = denoised(latents, output, t);
    auto out =
        clean * (std::sqrt(next) * beta / (1 - now)) + latents * (std::sqrt(now / next) * (1 - next) / (1 - now));
    if (t > 0) {
      const auto variance = large_variance_ ? beta : std::max((1 - next) / (1 - now) * beta, 1e-20);
      out.add_(noise(std::sqrt(1 / now - 1), std::sqrt(1 / next - 1)), std::sqrt(variance));
    }
    return out;
  }

 private:
  bool large_variance_;
};

}  // namespace

MadeSampler make_ddpm(const SamplerOptions& options) {
  GF_TRY(auto timesteps, whole_timesteps(options.config, options.steps));
  return std::unique_ptr<Sampler>(std::make_unique<Ddpm>(options, std::move(timesteps)));
}

}  // namespace gf::torch
