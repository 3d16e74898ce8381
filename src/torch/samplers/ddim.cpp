// DDIM (Song et al. 2020).
#include "torch/samplers/sampler.hpp"

namespace gf::torch {
namespace {

class Ddim final : public TimestepSampler {
 public:
  Ddim(const SamplerOptions& options, std::vector<std::int64_t> timesteps)
      // diffusers ends at a clean level unless the config says otherwise.
      : TimestepSampler(options, std::move(timesteps), options.config.alpha_to_one.value_or(true) ? 1 : -1,
                        options.config.class_name == "DDIMScheduler"),
        stride_(options.config.train_timesteps / options.steps),
        eta_(options.eta) {}

  at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t call,
                  const NoiseSource& noise) override {
    const auto t = timestep(call);
    const auto now = alpha(t);
    const auto next = alpha(t - stride_);
    const auto clean = denoised(latents, output, t);
    const auto direction = noise_in(latents, output, t);
    // Equation 16 with eta as there.
    const auto deviation = eta_ * std::sqrt((1 - next) / (1 - now) * (1 - now / next));
    auto out = clean * std::sqrt(next) + direction * std::sqrt(1 - next - deviation * deviation);
    if (eta_ > 0) out.add_(noise(std::sqrt(1 / now - 1), std::sqrt(1 / next - 1)), deviation);
    return out;
  }

 private:
  std::int64_t stride_;
  double eta_;
};

}  // namespace

MadeSampler make_ddim(const SamplerOptions& options) {
  GF_TRY(auto timesteps, whole_timesteps(options.config, options.steps));
  return std::unique_ptr<Sampler>(std::make_unique<Ddim>(options, std::move(timesteps)));
}

}  // namespace gf::torch
