#include "torch/run.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <cmath>
#include <functional>
#include <utility>
#include <vector>

namespace gf::torch {
namespace {

std::array<float, 6> size_values(const SizeConditioning& sizes) {
  return {static_cast<float>(sizes.original_height), static_cast<float>(sizes.original_width),
          static_cast<float>(sizes.crop_top),        static_cast<float>(sizes.crop_left),
          static_cast<float>(sizes.target_height),   static_cast<float>(sizes.target_width)};
}

/// Noise of one Brownian path: where an interval begins as the one before it did and reaches further, the part that
/// both share is the same.
class BrownianNoise {
 public:
  explicit BrownianNoise(std::function<at::Tensor()> draw) : draw_(std::move(draw)) {}

  at::Tensor operator()(double from, double to) {
    auto noise = draw_();
    if (noise_.defined() && from == from_ && to < to_) {
      noise = (noise_ * std::sqrt(from - to_)).add_(noise, std::sqrt(to_ - to)).div_(std::sqrt(from - to));
    }
    from_ = from;
    to_ = to;
    noise_ = noise;
    return noise;
  }

 private:
  std::function<at::Tensor()> draw_;
  double from_ = 0;
  double to_ = 0;
  at::Tensor noise_;
};

}  // namespace

Result<std::unique_ptr<Run>> Run::start(const Model& model, const Conditioning& conditioning, RunOptions options) {
  const auto factor = model.vae().config().factor();
  for (const auto& [name, side] : {std::pair("width_px", options.width), std::pair("height_px", options.height)}) {
    if (side < factor || side > 16384 || side % factor != 0) {
      return Error{
          Status::invalid_argument,
          fmt::format("{} is {}; this model takes multiples of {} from {} to 16384", name, side, factor, factor),
          {}};
    }
  }
  std::unique_ptr<Run> run(new Run(model, conditioning, std::move(options)));
  const auto& opts = run->options_;
  GF_TRY(run->sampler_, make_sampler(opts.sampler, {opts.scheduler, opts.steps, opts.eta}));
  const auto& sampler = *run->sampler_;

  run->generator_ = at::make_generator<at::CPUGeneratorImpl>(opts.seed);
  const std::vector<std::int64_t> shape = {1, model.unet().config().in_channels, opts.height / factor,
                                           opts.width / factor};
  auto latents = opts.initial_latents;
  if (!latents.defined()) {
    latents = at::randn(shape, run->generator_, at::TensorOptions().dtype(at::kFloat));
  } else if (latents.sizes() != at::IntArrayRef(shape)) {
    return Error{Status::invalid_argument,
                 fmt::format("initial_latents have {} values; {} of [{}] are needed", latents.numel(),
                             shape[1] * shape[2] * shape[3], fmt::join(shape, ", ")),
                 {}};
  }
  run->latents_ = latents * sampler.init_noise_sigma();

  const std::int64_t batch = conditioning.guidance ? 2 : 1;
  at::Tensor sizes;
  if (model.unet().config().text_time) {
    sizes = at::empty({batch, 6}, at::TensorOptions().dtype(at::kFloat));
    const auto positive = size_values(opts.sizes);
    const auto negative = size_values(opts.negative_sizes.value_or(opts.sizes));
    auto* row = sizes.data_ptr<float>();
    if (batch == 2) row = std::copy(negative.begin(), negative.end(), row);
    std::copy(positive.begin(), positive.end(), row);
  }
  const auto timesteps = at::tensor(sampler.timesteps(), at::TensorOptions().dtype(at::kFloat));
  run->times_ = model.unet().times(timesteps, conditioning.pooled, sizes, batch);

  run->noise_ = opts.step_noise;
  if (!run->noise_) {
    const auto draw = [made = run.get()] {
      return at::randn(made->latents_.sizes(), made->generator_, made->latents_.options());
    };
    if (sampler.wants_brownian_noise()) {
      run->noise_ = BrownianNoise(draw);
    } else {
      run->noise_ = [draw](double, double) { return draw(); };
    }
  }
  return run;
}

Result<void> Run::step() {
  if (done_ >= steps()) return Error{Status::wrong_state, "the last step is done", {}};
  auto input = sampler_->scale_input(latents_, done_);
  if (conditioning_.guidance) input = input.expand({2, -1, -1, -1});
  auto output = model_.unet().forward(input, times_, static_cast<std::int64_t>(done_), conditioning_.context);
  if (conditioning_.guidance) {
    output = guide(output.narrow(0, 0, 1), output.narrow(0, 1, 1), options_.cfg_scale, options_.guidance_rescale);
  }
  latents_ = sampler_->step(latents_, output, done_, noise_);
  ++done_;
  // One check a step: whatever was not finite inside has reached the latents by now. The sum of values that are all
  // finite may overflow, so it only clears the common case.
  if (!std::isfinite(latents_.sum().item<float>()) && !latents_.isfinite().all().item<bool>()) {
    return Error{Status::not_finite, fmt::format("the latents are not finite after step {} of {}", done_, steps()), {}};
  }
  return success();
}

Result<at::Tensor> Run::decode() const {
  const auto decoded = model_.vae().decode(latents_);
  if (!std::isfinite(decoded.sum().item<float>()) && !decoded.isfinite().all().item<bool>()) {
    return Error{Status::not_finite, "the decoder gave values that are not finite; its weights may be damaged", {}};
  }
  return decoded.div(2).add_(0.5).clamp_(0, 1);
}

at::Tensor guide(const at::Tensor& negative, const at::Tensor& positive, double scale, double rescale) {
  const auto guided = negative + (positive - negative) * scale;
  if (rescale <= 0) return guided;
  // The standard deviation over all but the batch, with Bessel's correction, as torch.std has it.
  const std::vector<std::int64_t> dims = {1, 2, 3};
  const auto positive_deviation = positive.std(dims, true, true);
  const auto guided_deviation = guided.std(dims, true, true);
  const auto rescaled = guided * (positive_deviation / guided_deviation);
  return rescaled * rescale + guided * (1 - rescale);
}

void write_rgba(const at::Tensor& image, std::span<std::uint8_t> pixels) {
  const auto bytes = image.squeeze(0).permute({1, 2, 0}).mul(255).round_().to(at::kByte).contiguous();
  const auto* from = bytes.data_ptr<std::uint8_t>();
  for (std::size_t i = 0; i < pixels.size() / 4; ++i) {
    pixels[4 * i] = from[3 * i];
    pixels[4 * i + 1] = from[3 * i + 1];
    pixels[4 * i + 2] = from[3 * i + 2];
    pixels[4 * i + 3] = 255;
  }
}

}  // namespace gf::torch
