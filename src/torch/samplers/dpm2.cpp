// DPM-Solver-2 in k-diffusion's form (Lu et al. 2022): the derivative in the middle of the step, in the logarithm of
// sigma; and its ancestral variant.
#include "torch/samplers/sampler.hpp"

namespace gf::torch {
namespace {

constexpr LevelRules rules{.round_timesteps = true};

/// Levels that a step visits, by step: where it begins, its middle, where it ends, and the noise added there.
struct Step {
  double from = 0;
  double middle = 0;
  double to = 0;
  double up = 0;
};

/// In diffusers' layout, for who looks at the levels: the first once, the others twice, the last once more.
NoiseLevels laid_out(const NoiseLevels& levels) {
  NoiseLevels out;
  out.sigmas.push_back(levels.sigmas.front());
  for (std::size_t i = 1; i <= levels.sigmas.size(); ++i) {
    const auto sigma = i < levels.sigmas.size() ? levels.sigmas[i] : 0;
    out.sigmas.insert(out.sigmas.end(), 2, sigma);
  }
  out.sigmas.push_back(0);
  return out;
}

class Dpm2 final : public SigmaSampler {
 public:
  Dpm2(const SamplerOptions& options, const NoiseLevels& levels, std::vector<double> timesteps, std::vector<Step> steps,
       bool ancestral)
      : SigmaSampler(options, rules.spacing, levels, std::move(timesteps)),
        steps_(std::move(steps)),
        ancestral_(ancestral) {}

  std::size_t first_call(std::size_t steps_left_out) const override { return 2 * steps_left_out; }

  at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t call,
                  const NoiseSource& noise) override {
    const auto& now = steps_[call / 2];
    if (call % 2 == 0) {
      from_ = latents;
      return latents + derivative(latents, output, now.from) * (now.middle - now.from);
    }
    auto next = from_ + derivative(latents, output, now.middle) * (now.to - now.from);
    if (ancestral_) next.add_(noise(now.from, sigma(call)), now.up);
    return next;
  }

 protected:
  double input_sigma(std::size_t call) const override {
    return call % 2 == 0 ? steps_[call / 2].from : steps_[call / 2].middle;
  }

 private:
  std::vector<Step> steps_;
  bool ancestral_;
  at::Tensor from_;
};

MadeSampler make(const SamplerOptions& options, bool ancestral) {
  const auto trained = trained_noise(options.config, true);
  GF_TRY(const auto levels, noise_levels(options.config, trained, options.steps, rules));
  std::vector<Step> steps;
  std::vector<double> timesteps;
  for (std::size_t i = 0; i < levels.timesteps.size(); ++i) {
    const bool last = i + 1 == levels.timesteps.size();
    Step step;
    step.from = static_cast<float>(levels.sigmas[i]);
    const double next = last ? 0 : static_cast<float>(levels.sigmas[i + 1]);
    step.to = next;
    if (ancestral) {
      step.up = std::sqrt(next * next * (step.from * step.from - next * next) / (step.from * step.from));
      step.to = std::sqrt(next * next - step.up * step.up);
    }
    // The last step has no middle: it goes to 0 at once.
    step.middle = last ? 0 : static_cast<float>(std::exp((std::log(step.from) + std::log(step.to)) / 2));
    steps.push_back(step);
    timesteps.push_back(levels.timesteps[i]);
    if (!last) timesteps.push_back(timestep_of(step.middle, trained.log_sigmas));
  }
  return std::unique_ptr<Sampler>(
      std::make_unique<Dpm2>(options, laid_out(levels), std::move(timesteps), std::move(steps), ancestral));
}

}  // namespace

MadeSampler make_dpm2(const SamplerOptions& options) { return make(options, false); }
MadeSampler make_dpm2_ancestral(const SamplerOptions& options) { return make(options, true); }

}  // namespace gf::torch
