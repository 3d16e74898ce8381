// DPM-Solver++ with two or three steps' outputs (Lu et al. 2022, algorithm 2), and its stochastic form (SDE).
#include "torch/samplers/sampler.hpp"

namespace gf::torch {
namespace {

class DpmppMultistep final : public MultistepSampler {
 public:
  DpmppMultistep(const SamplerOptions& options, const NoiseLevels& levels, double last, std::size_t order, bool sde)
      : MultistepSampler(options, levels, last),
        order_(order),
        sde_(sde),
        heun_(options.config.solver_type == "heun"),
        few_steps_end_low_(options.config.lower_order_final.value_or(true) && levels.timesteps.size() < 15),
        ends_low_(options.config.euler_at_final || few_steps_end_low_ || !options.config.final_sigma_min) {}

  at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t call,
                  const NoiseSource& noise) override {
    remember(denoised(latents, output, call), order_);
    const auto to = level(call + 1);
    const auto from = level(call);
    const auto h = to.lambda - from.lambda;
    // What every order shares: the exact solution for an output that stays as it is.
    const auto keep = to.sigma / from.sigma * (sde_ ? std::exp(-h) : 1);
    const auto gain = to.alpha * -std::expm1(sde_ ? -2 * h : -h);
    auto next = latents * keep + back(0) * gain;

    const auto left = calls() - 1 - call;
    const auto order = (left == 0 && ends_low_) ? 1 : (left == 1 && few_steps_end_low_) ? 2 : order_;
    if (order >= 3 && remembered() >= 3) {
      add_third_order(next, call, h, to.alpha);
    } else if (order >= 2 && remembered() >= 2) {
      const auto slope = (back(0) - back(1)) * (h / (from.lambda - level(call - 1).lambda));
      next.add_(slope, heun_ ? to.alpha * phi_2(h) : gain / 2);
    }
    if (sde_) next.add_(noise(sigmas_[call], sigmas_[call + 1]), to.sigma * std::sqrt(-std::expm1(-2 * h)));
    return next;
  }

 private:
  double phi_2(double h) const { return sde_ ? -std::expm1(-2 * h) / (-2 * h) + 1 : std::expm1(-h) / h + 1; }

  void add_third_order(at::Tensor& next, std::size_t call, double h, double alpha) const {
    const auto lambda = [&](std::size_t age) { return level(call - age).lambda; };
    const auto r0 = (lambda(0) - lambda(1)) / h;
    const auto r1 = (lambda(1) - lambda(2)) / h;
    const auto newer = (back(0) - back(1)) / r0;
    const auto older = (back(1) - back(2)) / r1;
    const auto first = newer + (newer - older) * (r0 / (r0 + r1));
    const auto second = (newer - older) / (r0 + r1);
    const auto phi_3 = sde_ ? (-std::expm1(-2 * h) - 2 * h) / (4 * h * h) - 0.5 : (std::expm1(-h) + h) / (h * h) - 0.5;
    next.add_(first, alpha * phi_2(h)).add_(second, sde_ ? alpha * phi_3 : -alpha * phi_3);
  }

  std::size_t order_;
  bool sde_;
  bool heun_;
  bool few_steps_end_low_;
  bool ends_low_;
};

MadeSampler make(const SamplerOptions& options, std::size_t order, bool sde) {
  const auto trained = trained_noise(options.config, true);
  const LevelRules rules{.multistep = true, .round_timesteps = options.config.beta_schedule != "squaredcos_cap_v2"};
  GF_TRY(const auto levels, noise_levels(options.config, trained, options.steps, rules));
  const auto last = options.config.final_sigma_min ? trained.sigmas.front() : 0;
  return std::unique_ptr<Sampler>(std::make_unique<DpmppMultistep>(options, levels, last, order, sde));
}

}  // namespace

MadeSampler make_dpmpp_2m(const SamplerOptions& options) { return make(options, 2, false); }
MadeSampler make_dpmpp_2m_sde(const SamplerOptions& options) { return make(options, 2, true); }
MadeSampler make_dpmpp_3m(const SamplerOptions& options) { return make(options, 3, false); }
MadeSampler make_dpmpp_3m_sde(const SamplerOptions& options) { return make(options, 3, true); }

}  // namespace gf::torch
