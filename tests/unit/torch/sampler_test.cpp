#include "torch/sampler.hpp"

#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace {

using namespace gf::torch;

SchedulerConfig stable_diffusion() {
  SchedulerConfig config;
  config.beta_start = 0.00085;
  config.beta_end = 0.012;
  config.beta_schedule = "scaled_linear";
  config.spacing = Spacing::leading;
  config.steps_offset = 1;
  return config;
}

}  // namespace

DOCTEST_TEST_CASE(
    "levels fall, timesteps fall, and the last level is zero, for every spacing, schedule and number of steps") {
  const c10::InferenceMode inference;
  for (const auto spacing : {Spacing::linspace, Spacing::leading, Spacing::trailing}) {
    for (const auto sigmas : {SigmaSchedule::normal, SigmaSchedule::karras, SigmaSchedule::exponential}) {
      for (const std::int64_t steps : {1, 2, 3, 7, 20, 150, 999, 1000}) {
        DOCTEST_CAPTURE(steps);
        auto config = stable_diffusion();
        config.spacing = spacing;
        config.sigmas = sigmas;
        const auto made = noise_levels(config, steps);
        DOCTEST_REQUIRE(made.has_value());
        const auto& levels = made.value();
        DOCTEST_REQUIRE(levels.steps() == static_cast<std::size_t>(steps));
        DOCTEST_REQUIRE(levels.sigmas.size() == static_cast<std::size_t>(steps) + 1);
        DOCTEST_CHECK(levels.sigmas.back() == 0);
        // With an offset, a schedule of every trained step begins past the last of them, twice at the same level.
        const std::size_t first = steps == 1000 ? 1 : 0;
        for (auto i = first; i + 1 < levels.sigmas.size(); ++i)
          DOCTEST_REQUIRE(levels.sigmas[i] > levels.sigmas[i + 1]);
        for (std::size_t i = 0; i + 1 < levels.timesteps.size(); ++i)
          DOCTEST_REQUIRE(levels.timesteps[i] >= levels.timesteps[i + 1]);
      }
    }
  }
}

DOCTEST_TEST_CASE("a number of steps outside the schedule is refused with the range") {
  const c10::InferenceMode inference;
  for (const std::int64_t steps : {-1, 0, 1001, 1'000'000}) {
    DOCTEST_CAPTURE(steps);
    const auto made = noise_levels(stable_diffusion(), steps);
    DOCTEST_REQUIRE(made.has_error());
    DOCTEST_CHECK(made.error().status == gf::Status::invalid_argument);
    DOCTEST_CHECK(made.error().message.find("1 to 1000") != std::string::npos);
  }
}

DOCTEST_TEST_CASE("betas that give no schedule are found when the config is read") {
  const c10::InferenceMode inference;
  auto config = stable_diffusion();
  config.beta_start = config.beta_end = 0;  // No noise at any step.
  const auto sound = noise_levels_are_sound(config, "model/scheduler_config.json");
  DOCTEST_REQUIRE(sound.has_error());
  DOCTEST_CHECK(sound.error().status == gf::Status::corrupt_file);
  DOCTEST_CHECK(sound.error().message.find("model/scheduler_config.json") != std::string::npos);
  config.beta_end = 1;  // All of it, so that nothing is left to divide by.
  DOCTEST_CHECK(noise_levels_are_sound(config, "x").has_error());
}

DOCTEST_TEST_CASE("Euler reaches the clean latents from any level when the network is right at once") {
  const c10::InferenceMode inference;
  const auto clean = at::randn({1, 4, 8, 8});
  const auto noise = at::randn({1, 4, 8, 8});
  for (const auto prediction : {Prediction::epsilon, Prediction::v_prediction}) {
    auto config = stable_diffusion();
    config.prediction = prediction;
    auto made = make_sampler("euler", config, 12);
    DOCTEST_REQUIRE(made.has_value());
    auto& sampler = *made.value();
    auto x = clean + noise * sampler.levels().sigmas[0];
    for (std::size_t i = 0; i < 12; ++i) {
      const auto sigma = sampler.levels().sigmas[i];
      // v = alpha * noise - sigma' * clean, of the variance-preserving form.
      const auto root = std::sqrt(sigma * sigma + 1);
      const auto exact = (x - clean) / sigma;
      const auto output = prediction == Prediction::epsilon ? exact : exact / root - clean * (sigma / root);
      x = sampler.step(x, output, i, [] { return at::Tensor(); });
    }
    DOCTEST_CHECK(at::allclose(x, clean, 1e-4, 1e-4));
  }
}

DOCTEST_TEST_CASE("guidance of scale 1 is the positive side, and rescaling keeps its deviation") {
  const c10::InferenceMode inference;
  const auto negative = at::randn({1, 4, 8, 8});
  const auto positive = at::randn({1, 4, 8, 8});
  DOCTEST_CHECK(at::allclose(guide(negative, positive, 1, 0), positive, 1e-5, 1e-6));
  const auto rescaled = guide(negative, positive, 7.5, 1);
  DOCTEST_CHECK(rescaled.std().item<double>() == doctest::Approx(positive.std().item<double>()).epsilon(1e-4));
}
