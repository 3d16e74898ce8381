#include "pipeline/samplers.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

using gf::Status;
using gf::pipeline::display_name;
using gf::pipeline::find_sampler;
using gf::pipeline::find_schedule;

TEST_CASE("golden: samplers as webui, ComfyUI, InvokeAI and diffusers spell them") {
  struct Row {
    std::string text;
    std::string sampler;
    std::string schedule;
  };
  const std::vector<Row> rows = {
      {"euler", "euler", ""},
      {"Euler", "euler", ""},
      {"EULER", "euler", ""},
      {"k_euler", "euler", ""},
      {"EulerDiscreteScheduler", "euler", ""},
      {"Euler Karras", "euler", "karras"},
      {"euler_a", "euler_a", ""},
      {"Euler a", "euler_a", ""},
      {"  euler  A ", "euler_a", ""},
      {"euler-a", "euler_a", ""},
      {"euler_ancestral", "euler_a", ""},
      {"k_euler_a", "euler_a", ""},
      {"k_euler_ancestral", "euler_a", ""},
      {"EulerAncestralDiscreteScheduler", "euler_a", ""},
      {"Euler a Karras", "euler_a", "karras"},
      {"Euler a Exponential", "euler_a", "exponential"},
      {"Euler a Automatic", "euler_a", ""},
      {"DPM++ 2M", "dpmpp_2m", ""},
      {"DPM++ 2M Karras", "dpmpp_2m", "karras"},
      {"DPM++ 2M SGM Uniform", "dpmpp_2m", "sgm_uniform"},
      {"DPM++ 2M SDE", "dpmpp_2m_sde", ""},
      {"DPM++ 2M SDE Karras", "dpmpp_2m_sde", "karras"},
      {"DPM++ 2M SDE Exponential", "dpmpp_2m_sde", "exponential"},
      {"dpmpp_2m_sde", "dpmpp_2m_sde", ""},
      {"DPM++ SDE Karras", "dpmpp_sde", "karras"},
      {"dpmpp_sde", "dpmpp_sde", ""},
      {"DPM++ 3M SDE", "dpmpp_3m_sde", ""},
      {"dpmpp_3m_sde", "dpmpp_3m_sde", ""},
      {"DPM2 Karras", "dpm2", "karras"},
      {"DPM2 a Karras", "dpm2_a", "karras"},
      {"dpm_2_ancestral", "dpm2_a", ""},
      {"LMS Karras", "lms", "karras"},
      {"Heun", "heun", ""},
      {"DDIM", "ddim", ""},
      {"PLMS", "plms", ""},
      {"UniPC", "unipc", ""},
      {"uni_pc", "unipc", ""},
      {"uni_pc_bh2", "unipc", ""},
      {"DEIS", "deis", ""},
      {"LCM", "lcm", ""},
      {"ddpm", "ddpm", ""},
      {"DPMSolverMultistepScheduler", "dpmpp_2m", ""},
      {"DPMSolverSinglestepScheduler", "dpmpp_2s", ""},
      {"DPMSolverSDEScheduler", "dpmpp_sde", ""},
      {"KDPM2AncestralDiscreteScheduler", "dpm2_a", ""},
      {"PNDMScheduler", "pndm", ""},
  };
  for (const auto& row : rows) {
    CAPTURE(row.text);
    const auto choice = find_sampler(row.text);
    REQUIRE(choice.has_value());
    CHECK(choice.value().sampler == row.sampler);
    CHECK(choice.value().schedule == row.schedule);
  }
}

TEST_CASE("golden: schedules, and automatic for the model's own") {
  CHECK(find_schedule("Karras").value() == "karras");
  CHECK(find_schedule("normal").value() == "normal");
  CHECK(find_schedule("EXPONENTIAL").value() == "exponential");
  CHECK(find_schedule("SGM Uniform").value() == "sgm_uniform");
  CHECK(find_schedule("trailing").value() == "sgm_uniform");
  CHECK(find_schedule("Automatic").value().empty());
}

TEST_CASE("an unknown name is unsupported, and the message lists known ones and shows it on one line") {
  for (const std::string text : {"", "DPM++ 2S a", "DPM fast", "_karras", "automatic", "euler b", "karras",
                                 "euler a karras karras", "euler\na\x01", "\xff\xfe"}) {
    CAPTURE(text);
    const auto sampler = find_sampler(text);
    REQUIRE(sampler.has_error());
    CHECK(sampler.error().status == Status::unsupported);
    CHECK(sampler.error().message.find("euler, euler_a") != std::string::npos);
    CHECK(sampler.error().message.find('\n') == std::string::npos);
  }
  const auto schedule = find_schedule("turbo");
  CHECK(schedule.error().status == Status::unsupported);
  CHECK(schedule.error().message.find("normal, karras, exponential") != std::string::npos);
  CHECK(find_sampler(std::string(1 << 20, 'a')).error().message.size() < 400);
}

TEST_CASE("every canonical name finds itself, and has webui's name to show") {
  for (const auto& row : gf::pipeline::samplers()) {
    CHECK(find_sampler(row.name).value().sampler == row.name);
    CHECK(find_sampler(row.display).value().sampler == row.name);
    CHECK(display_name(row.name) == row.display);
    for (const auto spelling : row.spellings) CHECK(find_sampler(spelling).value().sampler == row.name);
  }
  for (const auto& row : gf::pipeline::schedules()) CHECK(find_schedule(row.display).value() == row.name);
  CHECK(display_name("unheard of") == "unheard of");
}

TEST_CASE("no spelling stands for two samplers") {
  std::vector<std::string_view> seen;
  for (const auto& row : gf::pipeline::samplers()) {
    seen.push_back(row.name);
    seen.insert(seen.end(), row.spellings.begin(), row.spellings.end());
  }
  std::sort(seen.begin(), seen.end());
  CHECK(std::adjacent_find(seen.begin(), seen.end()) == seen.end());
}
