#include "pipeline/samplers.hpp"

#include <doctest/doctest.h>

#include <string>
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
  CHECK(find_schedule("Automatic").value().empty());
}

TEST_CASE("an unknown name is unsupported, and the message lists known ones and shows it on one line") {
  for (const std::string text :
       {"", "heun", "euler b", "karras", "euler a karras karras", "euler\na\x01", "\xff\xfe"}) {
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
