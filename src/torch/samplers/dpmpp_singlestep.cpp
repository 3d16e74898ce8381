// DPM-Solver++ 2S (Lu et al. 2022, algorithm 1): steps in pairs, the second of which starts again from the first's
// beginning.
#include "torch/samplers/sampler.hpp"

namespace gf::torch {
namespace {

// diffusers' scheduler knows no other spacing, whatever a config says.
constexpr LevelRules rules{.multistep = true, .round_timesteps = true};

class DpmppSinglestep final : public MultistepSampler {
 public:
  DpmppSinglestep(const SamplerOptions& options, const NoiseLevels& levels, double last)
      : MultistepSampler(options, levels, last), heun_(options.config.solver_type == "heun") {
    // 1, 2, 1, 2, ...; the last is of the first order where it ends at 0, which the second order does not reach.
    const auto count = levels.timesteps.size();
    const bool ends_low = options.config.lower_order_final.value_or(false) || count % 2 == 1 || last == 0;
    for (std::size_t i = 0; i < count; ++i) second_.push_back(i % 2 == 1 && (i + 1 < count || !ends_low));
  }

  at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t call, const NoiseSource&) override {
    remember(denoised(latents, output, call), 2);
    const auto to = level(call + 1);
    if (!second_[call] || remembered() < 2) {
      from_ = latents;
      const auto from = level(call);
      return latents * (to.sigma / from.sigma) - back(0) * (to.alpha * std::expm1(from.lambda - to.lambda));
    }
    const auto from = level(call - 1);
    const auto h = to.lambda - from.lambda;
    const auto slope = (back(0) - back(1)) * (h / (level(call).lambda - from.lambda));
    const auto gain = to.alpha * -std::expm1(-h);
    auto next = from_ * (to.sigma / from.sigma) + back(1) * gain;
    return next.add_(slope, heun_ ? to.alpha * (std::expm1(-h) / h + 1) : gain / 2);
  }

 private:
  bool heun_;
  std::vector<bool> second_;
  at::Tensor from_;
};

}  // namespace

MadeSampler make_dpmpp_2s(const SamplerOptions& given) {
  auto options = given;
  options.config.spacing = Spacing::linspace;
  const auto trained = trained_noise(options.config, true);
  GF_TRY(const auto levels, noise_levels(options.config, trained, options.steps, rules));
  const auto last = options.config.final_sigma_min ? trained.sigmas.front() : 0;
  return std::unique_ptr<Sampler>(std::make_unique<DpmppSinglestep>(options, levels, last));
}

}  // namespace gf::torch
