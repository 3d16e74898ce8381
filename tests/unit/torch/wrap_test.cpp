#include "fixtures.hpp"
#include "torch/allocator.hpp"
#include "torch/run.hpp"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <string>

namespace {

using namespace gf::torch;

const fixtures::Loaded& loaded() {
  static const fixtures::Loaded once(fixtures::golden_model().string());
  return once;
}

double most(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

Conditioning stone_wall() {
  Prompts prompts;
  prompts.prompt = "a stone wall";
  return loaded().model->encode(prompts, loaded().call.call()).value();
}

at::Tensor picture(const at::Tensor& noise, Wrap wrap) {
  const auto& model = loaded();
  const auto conditioning = stone_wall();
  const auto factor = model.model->vae_config().factor();
  RunOptions options;
  options.width = noise.size(3) * factor;
  options.height = noise.size(2) * factor;
  options.steps = 3;
  options.cfg_scale = 4;
  options.scheduler = model.model->scheduler();
  options.sizes = {options.height, options.width, 0, 0, options.height, options.width};
  options.initial_latents = noise;
  options.wrap = wrap;
  const auto run = Run::start(*model.model, conditioning, options, model.call.call()).value();
  while (run->done() < run->steps()) DOCTEST_REQUIRE(run->step(model.call.call()).has_value());
  return run->decode(model.call.call()).value();
}

}  // namespace

DOCTEST_TEST_CASE("what is around a picture is its opposite side where it wraps, and nothing elsewhere") {
  const auto x = at::arange(12).to(at::kFloat).view({1, 1, 3, 4}).contiguous(at::MemoryFormat::ChannelsLast);
  const auto both = pad_around(x, 1, 2, 2, 1, {true, true});
  DOCTEST_CHECK(both.sizes() == at::IntArrayRef({1, 1, 6, 7}));
  for (std::int64_t row = 0; row < 6; ++row) {
    for (std::int64_t column = 0; column < 7; ++column) {
      const auto from = x[0][0][(row + 2) % 3][(column + 2) % 4].item<float>();
      DOCTEST_CHECK(both[0][0][row][column].item<float>() == from);
    }
  }
  const auto across = pad_around(x, 1, 1, 1, 1, {true, false});
  DOCTEST_CHECK(across[0][0][0].abs().sum().item<float>() == 0);
  DOCTEST_CHECK(across[0][0][4].abs().sum().item<float>() == 0);
  DOCTEST_CHECK(across[0][0][1][0].item<float>() == 3);
  DOCTEST_CHECK(at::equal(pad_around(x, 1, 1, 1, 1, {}), at::constant_pad_nd(x, {1, 1, 1, 1})));
}

DOCTEST_TEST_CASE("property: of noise that is moved around, a picture that wraps is the same picture moved around") {
  const c10::InferenceMode inference;
  at::manual_seed(3);
  const auto levels = loaded().model->unet_config().levels.size();
  const auto channels = loaded().model->unet_config().in_channels;
  const auto factor = loaded().model->vae_config().factor();
  const std::int64_t move = std::int64_t{1} << (levels - 1);
  const auto noise = at::randn({1, channels, 16, 8});
  struct Row {
    Wrap wrap;
    std::int64_t rows;
    std::int64_t columns;
  };
  for (const auto& row :
       {Row{{true, true}, move, 2 * move}, Row{{true, false}, 0, move}, Row{{false, true}, move, 0}}) {
    DOCTEST_CAPTURE(row.rows);
    DOCTEST_CAPTURE(row.columns);
    const auto plain = picture(noise, row.wrap);
    const auto moved = picture(at::roll(noise, {row.rows, row.columns}, {2, 3}), row.wrap);
    const auto expected = at::roll(plain, {row.rows * factor, row.columns * factor}, {2, 3});
    DOCTEST_CHECK(most(moved, expected) < 1e-3);
    // And one that does not wrap is not.
    const auto edged = picture(noise, {});
    DOCTEST_CHECK(most(edged, plain) > 1e-2);
  }
  // A job that wraps changes nothing for the next one.
  DOCTEST_CHECK(at::equal(picture(noise, {}), picture(noise, {})));
}

DOCTEST_TEST_CASE("a picture from a picture wraps in the encoder too, and one in tiles at its ends") {
  const c10::InferenceMode inference;
  const auto& model = loaded();
  at::manual_seed(4);
  const auto factor = model.model->vae_config().factor();
  const auto encoder = model.model->use_encoder(model.call.call()).value();
  const auto image = at::rand({1, 3, 8 * factor, 8 * factor}) * 2 - 1;
  const auto mean = encoder->encode(image, {true, true}).mean;
  const auto moved = encoder->encode(at::roll(image, {2 * factor, factor}, {2, 3}), {true, true}).mean;
  DOCTEST_CHECK(most(moved, at::roll(mean, {2, 1}, {2, 3})) < 1e-3);

  const auto decoder = model.model->use_decoder(model.call.call()).value();
  // Smooth around the seam as inside: the middle of three by three copies.
  const auto coarse = at::randn({1, model.model->vae_config().latent_channels, 5, 6}).repeat({1, 1, 3, 3});
  const auto latents = at::upsample_bilinear2d(coarse, {120, 144}, false).narrow(2, 40, 40).narrow(3, 48, 48) *
                       model.model->vae_config().scaling_factor;
  const auto whole = decoder->decode(latents, {true, true});
  const auto tiled = decoder->decode_in_tiles(latents, model.call.call(), {true, true}).value();
  DOCTEST_CHECK(tiled.sizes() == whole.sizes());
  // The step from the last column to the first differs from the whole picture's no more than steps inside do.
  const auto difference = (tiled - whole).mean(1).squeeze(0);
  const auto jumps = (at::roll(difference, {-1}, {1}) - difference).abs().mean(0);
  const auto seam = jumps[jumps.size(0) - 1].item<double>();
  const auto inside = jumps.narrow(0, 0, jumps.size(0) - 1).mean().item<double>();
  DOCTEST_MESSAGE(fmt::format("jump at the seam {:.4f}, inside {:.4f}", seam, inside));
  DOCTEST_CHECK(seam <= 2 * inside);
  // Tiles that do not look over the seam would jump there.
  const auto edged = decoder->decode_in_tiles(latents, model.call.call()).value();
  const auto edged_jump = ((edged - whole).select(3, 0) - (edged - whole).select(3, edged.size(3) - 1)).abs().mean();
  DOCTEST_CHECK(edged_jump.item<double>() > 1.2 * seam);
}

DOCTEST_TEST_CASE("a side that wraps must be one that the model can halve; the other need not") {
  const c10::InferenceMode inference;
  const auto& model = loaded();
  const auto conditioning = stone_wall();
  const auto factor = model.model->vae_config().factor();
  RunOptions options;
  options.width = 5 * factor;
  options.height = 8 * factor;
  options.steps = 1;
  options.scheduler = model.model->scheduler();
  options.wrap = {true, false};
  const auto refused = Run::start(*model.model, conditioning, options, model.call.call());
  DOCTEST_REQUIRE(refused.has_error());
  DOCTEST_CHECK(refused.error().status == gf::Status::invalid_argument);
  DOCTEST_CHECK(refused.error().message.find("width_px") != std::string::npos);
  options.wrap = {false, true};
  DOCTEST_CHECK(Run::start(*model.model, conditioning, options, model.call.call()).has_value());
}
