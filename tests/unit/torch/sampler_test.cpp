#include "torch/samplers/sampler.hpp"

#include "torch/run.hpp"

#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
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

constexpr std::array<std::string_view, 19> names = {
    "euler",    "euler_a",      "heun", "dpm2", "dpm2_a", "lms",   "dpmpp_2m", "dpmpp_2m_sde", "dpmpp_sde", "dpmpp_2s",
    "dpmpp_3m", "dpmpp_3m_sde", "ddim", "plms", "pndm",   "unipc", "deis",     "lcm",          "ddpm"};

at::Tensor draw(double, double) { return at::randn({1, 4, 8, 8}); }

/// sqrt of the cumulative alpha at a timestep, which may lie between two trained ones.
double alpha_at(const SchedulerConfig& config, double timestep) {
  const auto trained = trained_noise(config, true);
  const auto low = std::min(static_cast<std::size_t>(timestep), trained.sigmas.size() - 1);
  const auto high = std::min(low + 1, trained.sigmas.size() - 1);
  const auto part = timestep - static_cast<double>(low);
  const auto sigma = std::exp(trained.log_sigmas[low] * (1 - part) + trained.log_sigmas[high] * part);
  return 1 / std::sqrt(sigma * sigma + 1);
}

}  // namespace

DOCTEST_TEST_CASE(
    "Euler's levels fall to zero and its timesteps fall, for every spacing, schedule and number of steps") {
  const c10::InferenceMode inference;
  for (const auto spacing : {Spacing::linspace, Spacing::leading, Spacing::trailing}) {
    for (const auto sigmas : {SigmaSchedule::normal, SigmaSchedule::karras, SigmaSchedule::exponential}) {
      for (const std::int64_t steps : {1, 2, 3, 7, 20, 150, 999, 1000}) {
        DOCTEST_CAPTURE(steps);
        auto config = stable_diffusion();
        config.spacing = spacing;
        config.sigmas = sigmas;
        const auto made = make_sampler("euler", {config, steps});
        DOCTEST_REQUIRE(made.has_value());
        const auto& levels = made.value()->sigmas();
        const auto& timesteps = made.value()->timesteps();
        DOCTEST_REQUIRE(timesteps.size() == static_cast<std::size_t>(steps));
        DOCTEST_REQUIRE(levels.size() == static_cast<std::size_t>(steps) + 1);
        DOCTEST_CHECK(levels.back() == 0);
        // With an offset, a schedule of every trained step begins past the last of them, twice at the same level.
        const std::size_t first = steps == 1000 ? 1 : 0;
        for (auto i = first; i + 1 < levels.size(); ++i) DOCTEST_REQUIRE(levels[i] > levels[i + 1]);
        for (std::size_t i = 0; i + 1 < timesteps.size(); ++i) DOCTEST_REQUIRE(timesteps[i] >= timesteps[i + 1]);
      }
    }
  }
}

DOCTEST_TEST_CASE("a number of steps outside the schedule is refused with the range, by every sampler") {
  const c10::InferenceMode inference;
  for (const auto name : names) {
    for (const std::int64_t steps : {-1, 0, 1001, 1'000'000}) {
      DOCTEST_CAPTURE(name);
      DOCTEST_CAPTURE(steps);
      const auto made = make_sampler(name, {stable_diffusion(), steps});
      DOCTEST_REQUIRE(made.has_error());
      DOCTEST_CHECK(made.error().status == gf::Status::invalid_argument);
      DOCTEST_CHECK(made.error().message.find(name == "lcm" ? "1 to 50" : "1 to 1000") != std::string::npos);
    }
  }
  DOCTEST_CHECK(make_sampler("pndm", {stable_diffusion(), 3}).error().status == gf::Status::invalid_argument);
  DOCTEST_CHECK(make_sampler("nobody", {stable_diffusion(), 3}).error().status == gf::Status::unsupported);
}

DOCTEST_TEST_CASE(
    "every sampler of the table takes any number of steps, from the first or a later one, and stays finite") {
  const c10::InferenceMode inference;
  for (const auto name : names) {
    for (const auto spacing : {Spacing::linspace, Spacing::leading, Spacing::trailing}) {
      for (const std::int64_t steps : {4, 5, 13, 14, 15, 16, 33, 50}) {
        for (const std::size_t left_out : {std::size_t{0}, std::size_t{1}, std::size_t{3}}) {
          DOCTEST_CAPTURE(name);
          DOCTEST_CAPTURE(steps);
          DOCTEST_CAPTURE(left_out);
          auto config = stable_diffusion();
          config.spacing = spacing;
          const auto made = make_sampler(name, {config, steps});
          DOCTEST_REQUIRE(made.has_value());
          auto& sampler = *made.value();
          const auto first = sampler.first_call(left_out);
          DOCTEST_REQUIRE(first < sampler.calls());
          auto x = sampler.add_noise(at::randn({1, 4, 8, 8}), at::randn({1, 4, 8, 8}), first);
          for (auto call = first; call < sampler.calls(); ++call) {
            const auto output = sampler.scale_input(x, call).tanh();
            x = sampler.step(x, output, call, draw);
            DOCTEST_REQUIRE(x.isfinite().all().item<bool>());
          }
        }
      }
    }
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

DOCTEST_TEST_CASE("every sampler that ends at zero finds the picture when the network knows it") {
  const c10::InferenceMode inference;
  const auto clean = at::randn({1, 4, 8, 8});
  for (const auto name : names) {
    if (name == "deis") continue;  // Ends at the smallest trained level, above zero.
    for (const auto prediction : {Prediction::epsilon, Prediction::v_prediction}) {
      DOCTEST_CAPTURE(name);
      auto config = stable_diffusion();
      config.prediction = prediction;
      config.alpha_to_one = true;
      config.clip_sample = false;
      auto made = make_sampler(name, {config, 12});
      DOCTEST_REQUIRE(made.has_value());
      auto& sampler = *made.value();
      auto x = sampler.add_noise(clean, at::randn({1, 4, 8, 8}), 0);
      for (std::size_t call = 0; call < sampler.calls(); ++call) {
        // The network sees the picture with noise of the variance-preserving form. The level it stands at follows from
        // two pictures: what is added for a clean one grows with alpha alone.
        const auto input = sampler.scale_input(x, call);
        const auto alpha = alpha_at(config, sampler.timesteps()[call]);
        const auto noise = (input - clean * alpha) / std::sqrt(1 - alpha * alpha);
        const auto output =
            prediction == Prediction::epsilon ? noise : noise * alpha - clean * std::sqrt(1 - alpha * alpha);
        x = sampler.step(x, output, call, draw);
      }
      // Timesteps are rounded or interpolated, so that the network's alpha differs a little from the sampler's.
      DOCTEST_CHECK((x - clean).abs().max().item<double>() < 0.05);
    }
  }
}

DOCTEST_TEST_CASE("noise levels have their forms only where a sampler steps along them") {
  for (const auto name : names) {
    DOCTEST_CAPTURE(name);
    const bool timesteps_only = name == "ddim" || name == "ddpm" || name == "plms" || name == "pndm" || name == "lcm";
    DOCTEST_CHECK(has_schedule(name, SigmaSchedule::karras) == !timesteps_only);
    DOCTEST_CHECK(has_schedule(name, SigmaSchedule::normal));
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
