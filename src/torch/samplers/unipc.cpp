// UniPC (Zhao et al. 2023): a predictor, and a corrector that uses the next call's output at no further cost.
#include "torch/samplers/sampler.hpp"

#include <algorithm>
#include <array>

namespace gf::torch {
namespace {

constexpr LevelRules rules{.multistep = true, .round_timesteps = true};
constexpr std::size_t most_outputs = 3;

/// The solution of a system of `size` equations by elimination with pivots.
std::array<double, most_outputs> solved(std::array<std::array<double, most_outputs>, most_outputs> matrix,
                                        std::array<double, most_outputs> right, std::size_t size) {
  for (std::size_t column = 0; column < size; ++column) {
    auto pivot = column;
    for (auto row = column + 1; row < size; ++row) {
      if (std::abs(matrix[row][column]) > std::abs(matrix[pivot][column])) pivot = row;
    }
    std::swap(matrix[column], matrix[pivot]);
    std::swap(right[column], right[pivot]);
    for (auto row = column + 1; row < size; ++row) {
      const auto factor = matrix[row][column] / matrix[column][column];
      for (auto k = column; k < size; ++k) matrix[row][k] -= factor * matrix[column][k];
      right[row] -= factor * right[column];
    }
  }
  for (auto row = size; row-- > 0;) {
    for (auto k = row + 1; k < size; ++k) right[row] -= matrix[row][k] * right[k];
    right[row] /= matrix[row][row];
  }
  return right;
}

class UniPc final : public MultistepSampler {
 public:
  UniPc(const SamplerOptions& options, const NoiseLevels& levels, double last)
      : MultistepSampler(options, levels, last),
        order_(static_cast<std::size_t>(options.config.solver_order)),
        bh1_(options.config.solver_type == "bh1"),
        ends_low_(options.config.lower_order_final.value_or(true)) {}

  at::Tensor step(const at::Tensor& latents, const at::Tensor& output, std::size_t call, const NoiseSource&) override {
    const auto clean = denoised(latents, output, call);
    // The corrector uses what was remembered before this call, and this call's output beside it.
    const auto here = from_.defined() ? moved(from_, call - 1, used_order_, &clean) : latents;
    remember(clean, order_);
    used_order_ = std::min({order_, remembered(), ends_low_ ? calls() - call : order_});
    from_ = here;
    return moved(here, call, used_order_, nullptr);
  }

 private:
  /// One step from the level of call `index` with the newest `order` outputs, of which the newest belongs to that
  /// level; with `end`, the output at the step's end, as corrector.
  at::Tensor moved(const at::Tensor& latents, std::size_t index, std::size_t order, const at::Tensor* end) const {
    const auto to = level(index + 1);
    const auto from = level(index);
    const auto h = to.lambda - from.lambda;
    const auto phi_1 = std::expm1(-h);
    const auto b_h = bh1_ ? -h : phi_1;
    const auto& newest = back(0);
    auto next = latents * (to.sigma / from.sigma) - newest * (to.alpha * phi_1);

    // Positions of the older outputs in units of the step, and 1 for its end. Section 3.1.
    std::array<double, most_outputs> positions{};
    for (std::size_t age = 1; age < order; ++age) positions[age - 1] = (level(index - age).lambda - from.lambda) / h;
    positions[order - 1] = 1;
    std::array<std::array<double, most_outputs>, most_outputs> powers{};
    std::array<double, most_outputs> right{};
    auto phi_k = phi_1 / -h - 1;
    double factorial = 1;
    for (std::size_t row = 0; row < order; ++row) {
      for (std::size_t column = 0; column < order; ++column) {
        powers[row][column] = std::pow(positions[column], static_cast<double>(row));
      }
      right[row] = phi_k * factorial / b_h;
      factorial *= static_cast<double>(row + 2);
      phi_k = phi_k / -h - 1 / factorial;
    }
    std::array<double, most_outputs> weights{};
    const auto unknowns = end != nullptr ? order : order - 1;
    if ((end != nullptr && order == 1) || (end == nullptr && order == 2)) {
      weights[0] = 0.5;
    } else if (unknowns > 0) {
      weights = solved(powers, right, unknowns);
    }
    for (std::size_t age = 1; age < order; ++age) {
      next.add_((back(age) - newest) / positions[age - 1], -to.alpha * b_h * weights[age - 1]);
    }
    if (end != nullptr) next.add_(*end - newest, -to.alpha * b_h * weights[order - 1]);
    return next;
  }

  std::size_t order_;
  bool bh1_;
  bool ends_low_;
  std::size_t used_order_ = 1;
  at::Tensor from_;
};

}  // namespace

MadeSampler make_unipc(const SamplerOptions& options) {
  const auto& config = options.config;
  const auto trained = trained_noise(config, true);
  GF_TRY(const auto levels, noise_levels(config, trained, options.steps, rules));
  const auto smallest = config.sigmas == SigmaSchedule::normal ? trained.sigmas.front() : levels.sigmas.back();
  return std::unique_ptr<Sampler>(std::make_unique<UniPc>(options, levels, config.final_sigma_min ? smallest : 0));
}

}  // namespace gf::torch
