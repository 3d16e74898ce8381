#include "torch/run.hpp"
#include "fixtures.hpp"

#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include <thread>

namespace {

using namespace gf::torch;
using fixtures::TestCall;

struct Loaded : fixtures::Loaded {
  Loaded() : fixtures::Loaded(fixtures::golden_model().string()) {}

  Conditioning encode(const std::string& prompt, bool guidance = true) const {
    Prompts prompts;
    prompts.prompt = prompt;
    prompts.guidance = guidance;
    auto encoded = model->encode(prompts, call.call());
    DOCTEST_REQUIRE(encoded.has_value());
    return std::move(encoded).assume_value();
  }

  RunOptions options(std::int64_t width = 128, std::int64_t height = 64) const {
    RunOptions options;
    options.width = width;
    options.height = height;
    options.steps = 3;
    options.cfg_scale = 5;
    options.sampler = "euler_a";
    options.scheduler = model->scheduler();
    options.sizes = {height, width, 0, 0, height, width};
    return options;
  }

  at::Tensor picture(const Conditioning& conditioning, const RunOptions& options) const {
    auto run = Run::start(*model, conditioning, options, call.call());
    DOCTEST_REQUIRE(run.has_value());
    while (run.value()->done() < run.value()->steps()) DOCTEST_REQUIRE(run.value()->step(call.call()).has_value());
    const auto image = run.value()->decode(call.call());
    DOCTEST_REQUIRE(image.has_value());
    return image.value();
  }
};

const Loaded& loaded() {
  static const Loaded once;
  return once;
}

}  // namespace

DOCTEST_TEST_CASE("the same request gives the same bits, whatever ran before or beside it") {
  const c10::InferenceMode inference;
  const auto& model = loaded();
  const auto fox = model.encode("a fox");
  const auto castle = model.encode("a castle");
  auto options = model.options();
  options.seed = 7;
  const auto first = model.picture(fox, options);
  auto other = model.options(64, 96);
  other.seed = 8;
  const auto between = model.picture(castle, other);
  DOCTEST_CHECK(at::equal(model.picture(fox, options), first));
  at::Tensor beside_1, beside_2;
  std::thread one([&] {
    const c10::InferenceMode here;
    beside_1 = model.picture(fox, options);
  });
  std::thread two([&] {
    const c10::InferenceMode here;
    beside_2 = model.picture(castle, other);
  });
  one.join();
  two.join();
  DOCTEST_CHECK(at::equal(beside_1, first));
  DOCTEST_CHECK(at::equal(beside_2, between));
}

DOCTEST_TEST_CASE("another seed, prompt or scale gives another picture") {
  const c10::InferenceMode inference;
  const auto& model = loaded();
  const auto fox = model.encode("a fox");
  auto options = model.options();
  const auto first = model.picture(fox, options);
  auto changed = options;
  changed.seed = 1;
  DOCTEST_CHECK_FALSE(at::equal(model.picture(fox, changed), first));
  changed = options;
  changed.cfg_scale = 6;
  DOCTEST_CHECK_FALSE(at::equal(model.picture(fox, changed), first));
  DOCTEST_CHECK_FALSE(at::equal(model.picture(model.encode("a castle"), options), first));
}

DOCTEST_TEST_CASE("without guidance the negative side is not computed, and the scale plays no part") {
  const c10::InferenceMode inference;
  const auto& model = loaded();
  const auto plain = model.encode("a fox", false);
  DOCTEST_CHECK_FALSE(plain.negative.defined());
  auto options = model.options();
  options.cfg_scale = 1;
  const auto first = model.picture(plain, options);
  options.cfg_scale = 9;
  DOCTEST_CHECK(at::equal(model.picture(plain, options), first));
}

DOCTEST_TEST_CASE("sizes that the model cannot make are refused by name; odd multiples of its factor are made") {
  const c10::InferenceMode inference;
  const auto& model = loaded();
  const auto fox = model.encode("a fox");
  for (const std::int64_t side : {0, -8, 4, 65, 16392}) {
    DOCTEST_CAPTURE(side);
    const auto run = Run::start(*model.model, fox, model.options(side, 64), model.call.call());
    DOCTEST_REQUIRE(run.has_error());
    DOCTEST_CHECK(run.error().status == gf::Status::invalid_argument);
    DOCTEST_CHECK(run.error().message.find("width_px") != std::string::npos);
  }
  const auto picture = model.picture(fox, model.options(72, 40));
  DOCTEST_CHECK(picture.size(2) == 40);
  DOCTEST_CHECK(picture.size(3) == 72);
}

DOCTEST_TEST_CASE(
    "initial latents of another shape, no steps and unknown samplers are refused; so is a step too many") {
  const c10::InferenceMode inference;
  const auto& model = loaded();
  const auto fox = model.encode("a fox");
  auto options = model.options();
  options.initial_latents = at::zeros({1, 4, 3, 3});
  DOCTEST_CHECK(Run::start(*model.model, fox, options, model.call.call()).error().status ==
                gf::Status::invalid_argument);
  options = model.options();
  options.steps = 0;
  DOCTEST_CHECK(Run::start(*model.model, fox, options, model.call.call()).error().status ==
                gf::Status::invalid_argument);
  options = model.options();
  options.sampler = "nobody";
  DOCTEST_CHECK(Run::start(*model.model, fox, options, model.call.call()).error().status == gf::Status::unsupported);
  options = model.options();
  options.steps = 1;
  auto run = Run::start(*model.model, fox, options, model.call.call());
  DOCTEST_REQUIRE(run.value()->step(model.call.call()).has_value());
  DOCTEST_CHECK(run.value()->step(model.call.call()).error().status == gf::Status::wrong_state);
}

DOCTEST_TEST_CASE("a cancelled encoding stops at the next encoder") {
  const c10::InferenceMode inference;
  const auto& model = loaded();
  int asked = 0;
  TestCall call([&] { return ++asked > 1; });
  Prompts prompts;
  prompts.prompt = "a fox";
  const auto encoded = model.model->encode(prompts, call.call());
  DOCTEST_REQUIRE(encoded.has_error());
  DOCTEST_CHECK(encoded.error().status == gf::Status::cancelled);
  DOCTEST_CHECK(asked == 2);
}
