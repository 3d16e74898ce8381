#include "torch/run.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <tuple>
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

Result<std::unique_ptr<Run>> Run::start(const Model& model, const Conditioning& conditioning, RunOptions options,
                                        const Call& call) {
  const auto factor = model.vae_config().factor();
  for (const auto& [name, side] : {std::pair("width_px", options.width), std::pair("height_px", options.height)}) {
    if (side < factor || side > 16384 || side % factor != 0) {
      return Error{
          Status::invalid_argument,
          fmt::format("{} is {}; this model takes multiples of {} from {} to 16384", name, side, factor, factor),
          {}};
    }
  }
  // Where a level of the UNet had an odd side, its picture would not go on with its opposite side.
  const auto multiple = factor << (model.unet_config().levels.size() - 1);
  for (const auto& [name, side, wraps] : {std::tuple("width_px", options.width, options.wrap.x),
                                          std::tuple("height_px", options.height, options.wrap.y)}) {
    if (wraps && side % multiple != 0) {
      return Error{
          Status::invalid_argument,
          fmt::format("{} is {}; a side that is to be tiled is a multiple of {} with this model", name, side, multiple),
          {}};
    }
  }
  std::unique_ptr<Run> run(new Run(model, conditioning, std::move(options)));
  const auto& opts = run->options_;
  GF_TRY(run->sampler_, make_sampler(opts.sampler, {opts.scheduler, opts.steps, opts.eta}));
  const auto& sampler = *run->sampler_;

  const std::vector<std::int64_t> shape = {1, model.unet_config().in_channels, opts.height / factor,
                                           opts.width / factor};
  // diffusers draws the encoded picture's sample before the noise.
  if (opts.image.defined() && !opts.vae_noise.defined()) run->options_.vae_noise = run->generator_.draw(shape);
  auto latents = opts.initial_latents;
  if (!latents.defined()) {
    latents = run->generator_.draw(shape);
  } else if (latents.sizes() != at::IntArrayRef(shape)) {
    return Error{Status::invalid_argument,
                 fmt::format("initial_latents have {} values; {} of [{}] are needed", latents.numel(),
                             shape[1] * shape[2] * shape[3], fmt::join(shape, ", ")),
                 {}};
  }
  run->latents_ = latents * sampler.init_noise_sigma();
  if (opts.image.defined()) {
    GF_TRYV(run->begin_from_image(latents, call));
  }

  const std::int64_t batch = conditioning.guidance ? 2 : 1;
  at::Tensor sizes;
  if (model.unet_config().text_time) {
    sizes = at::empty({batch, 6}, at::TensorOptions().dtype(at::kFloat));
    const auto positive = size_values(opts.sizes);
    const auto negative = size_values(opts.negative_sizes.value_or(opts.sizes));
    auto* row = sizes.data_ptr<float>();
    if (batch == 2) row = std::copy(negative.begin(), negative.end(), row);
    std::copy(positive.begin(), positive.end(), row);
  }
  const auto timesteps = at::tensor(sampler.timesteps(), at::TensorOptions().dtype(at::kFloat));
  GF_TRY(run->unet_, model.use_unet(call));
  run->context_ = conditioning.context(*run->unet_);
  run->times_ = run->unet_->times(timesteps, conditioning.pooled, sizes, batch);

  run->noise_ = opts.step_noise;
  if (!run->noise_) {
    const auto draw = [made = run.get()] { return made->generator_.draw(made->latents_.sizes()); };
    if (sampler.wants_brownian_noise()) {
      run->noise_ = BrownianNoise(draw);
    } else {
      run->noise_ = [draw](double, double) { return draw(); };
    }
  }
  return run;
}

Result<void> Run::begin_from_image(const at::Tensor& noise, const Call& call) {
  const auto& opts = options_;
  const std::vector<std::int64_t> picture = {1, 3, opts.height, opts.width};
  if (opts.image.sizes() != at::IntArrayRef(picture)) {
    return Error{Status::invalid_argument,
                 fmt::format("the picture is [{}]; [{}] is needed", fmt::join(opts.image.sizes(), ", "),
                             fmt::join(picture, ", ")),
                 {}};
  }
  if (!(opts.strength > 0 && opts.strength <= 1)) {
    return Error{
        Status::invalid_argument, fmt::format("strength is {}; it must be above 0 and at most 1", opts.strength), {}};
  }
  const auto steps_done =
      std::min(static_cast<std::int64_t>(static_cast<double>(opts.steps) * opts.strength), opts.steps);
  if (steps_done < 1) {
    return Error{Status::invalid_argument,
                 fmt::format("strength {} of {} steps leaves none to do; take more steps or more strength",
                             opts.strength, opts.steps),
                 {}};
  }
  done_ = sampler_->first_call(static_cast<std::size_t>(opts.steps - steps_done));

  GF_TRY(const auto encoder, model_.use_encoder(call));
  const auto encoded = encoder->encode(opts.image, opts.wrap);
  const auto deviation = (encoded.log_variance * 0.5).exp();
  const auto clean = (encoded.mean + deviation * opts.vae_noise) * model_.vae_config().scaling_factor;
  // Painting all of it anew at full strength begins with nothing but noise, as text to image does.
  const bool from_noise = opts.mask.defined() && opts.strength == 1;
  if (!from_noise) latents_ = sampler_->add_noise(clean, noise, done_);
  if (opts.mask.defined()) {
    const std::vector<std::int64_t> expected = {1, 1, opts.height, opts.width};
    if (opts.mask.sizes() != at::IntArrayRef(expected)) {
      return Error{Status::invalid_argument,
                   fmt::format("the mask is [{}]; [{}] is needed", fmt::join(opts.mask.sizes(), ", "),
                               fmt::join(expected, ", ")),
                   {}};
    }
    mask_ = at::upsample_nearest2d(opts.mask, {latents_.size(2), latents_.size(3)});
    image_latents_ = clean;
    image_noise_ = noise;
  }
  return success();
}

Result<void> Run::step(const Call& call) {
  if (done_ >= steps()) return Error{Status::wrong_state, "the last step is done", {}};
  if (is_torn_) return Error{Status::wrong_state, "the step before this one ended in the middle", {}};
  if (!unet_ || call.is_thrifty(GF_BACKEND_THRIFT_PARTS)) {
    GF_TRY(unet_, model_.use_unet(call));
  }
  auto input = sampler_->scale_input(latents_, done_);
  if (conditioning_.guidance) input = input.expand({2, -1, -1, -1});
  auto output = unet_->forward(input, times_, static_cast<std::int64_t>(done_), *context_, options_.wrap);
  if (conditioning_.guidance) {
    output = guide(output.narrow(0, 0, 1), output.narrow(0, 1, 1), options_.cfg_scale, options_.guidance_rescale);
  }
  is_torn_ = true;  // The sampler and the noise have moved on, whatever comes of the rest.
  latents_ = sampler_->step(latents_, output, done_, noise_);
  ++done_;
  if (mask_.defined()) {
    // What is not painted anew follows the picture at the level that was reached.
    const auto kept = done_ < steps() ? sampler_->add_noise(image_latents_, image_noise_, done_) : image_latents_;
    latents_ = kept * (1 - mask_) + latents_ * mask_;
  }
  // One check a step: whatever was not finite inside has reached the latents by now. The sum of values that are all
  // finite may overflow, so it only clears the common case.
  if (!std::isfinite(latents_.sum().item<float>()) && !latents_.isfinite().all().item<bool>()) {
    return Error{Status::not_finite, fmt::format("the latents are not finite after step {} of {}", done_, steps()), {}};
  }
  is_torn_ = false;
  return success();
}

void Run::rest(bool keep_denoiser) {
  if (!keep_denoiser) unet_.reset();
  model_.rest(keep_denoiser);
}

Result<at::Tensor> Run::decode(const Call& call) {
  unet_.reset();
  GF_TRY(const auto decoder, model_.use_decoder(call));
  at::Tensor decoded;
  if (call.is_thrifty(GF_BACKEND_THRIFT_TILES)) {
    GF_TRY(decoded, decoder->decode_in_tiles(latents_, call, options_.wrap));
  } else {
    decoded = decoder->decode(latents_, options_.wrap);
  }
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

at::Tensor read_rgba(const std::uint8_t* pixels, std::int64_t height, std::int64_t width) {
  const auto bytes = at::from_blob(const_cast<std::uint8_t*>(pixels), {1, height, width, 4}, at::kByte);
  return bytes.narrow(3, 0, 3).permute({0, 3, 1, 2}).to(at::kFloat).div_(255).mul_(2).sub_(1);
}

at::Tensor read_mask(const std::uint8_t* pixels, std::int64_t height, std::int64_t width) {
  const auto bytes = at::from_blob(const_cast<std::uint8_t*>(pixels), {1, 1, height, width}, at::kByte);
  return bytes.ge(128).to(at::kFloat);
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
