#include "pipeline/request.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

using gf::Status;
using gf::pipeline::make_request;
using gf::pipeline::RequestDraft;

namespace {

RequestDraft plain() {
  RequestDraft draft;
  draft.model = "tiles";
  draft.prompt = "a red potion";
  return draft;
}

gf::Error refusal(const std::function<void(RequestDraft&)>& change, bool allow_paths = false) {
  auto draft = plain();
  change(draft);
  const auto request = make_request(draft, allow_paths, 0);
  REQUIRE(request.has_error());
  return request.error();
}

}  // namespace

TEST_CASE("a request is copied whole: what the caller passed may go") {
  std::string model = "tiles";
  std::string prompt = "a red potion";
  std::string negative = "blurry";
  std::vector<float> latents = {1, -2, 0.5F};
  RequestDraft draft;
  draft.model = model;
  draft.prompt = prompt;
  draft.negative_prompt = negative;
  draft.sampler = "Euler a Karras";
  draft.initial_latents = latents.data();
  draft.initial_latent_count = latents.size();
  draft.width_px = 8;
  draft.height_px = 8192;
  draft.steps = 1000;
  draft.cfg_scale = 1;
  draft.seed = 5;
  draft.crop_left_px = 3;
  const auto request = make_request(draft, false, 77).value();
  model.assign("xxxxx");
  prompt.assign("xxxxxxxxxxxx");
  negative.clear();
  latents.assign(3, 0);
  CHECK(request.model == "tiles");
  CHECK(request.prompt == "a red potion");
  CHECK(request.negative_prompt == "blurry");
  CHECK_FALSE(request.prompt_2.has_value());
  CHECK(request.sampler == "euler_a");
  CHECK(request.schedule == "karras");
  CHECK(request.initial_latents == std::vector<float>{1, -2, 0.5F});
  CHECK(request.image_count == 1);
  CHECK(request.seed == 5);
  CHECK(request.crop_left_px == 3);
}

TEST_CASE("a random seed is 32 bits of what was drawn; seeds of images wrap round") {
  auto draft = plain();
  draft.random_seed = true;
  draft.seed = 5;
  CHECK(make_request(draft, false, 0xABCD'0123'4567'89AB).value().seed == 0x4567'89AB);
  draft.random_seed = false;
  draft.seed = std::numeric_limits<std::uint64_t>::max();
  CHECK(make_request(draft, false, 1).value().seed_of(1) == 0);
}

TEST_CASE("values out of their range are refused by name, value and range") {
  struct Row {
    std::function<void(RequestDraft&)> change;
    std::string named;
  };
  const double nan = std::nan("");
  const double infinity = std::numeric_limits<double>::infinity();
  const std::vector<Row> rows = {
      {[](auto& d) { d.width_px = 7; }, "width_px is 7; it must be 8 to 8192"},
      {[](auto& d) { d.width_px = 8193; }, "width_px is 8193"},
      {[](auto& d) { d.height_px = 1; }, "height_px is 1"},
      {[](auto& d) { d.steps = 1001; }, "steps is 1001; it must be 1 to 1000"},
      {[](auto& d) { d.steps = 1'000'000; }, "steps is 1000000"},
      {[](auto& d) { d.image_count = 257; }, "image_count is 257"},
      {[](auto& d) { d.cfg_scale = 0.99; }, "cfg_scale is 0.99"},
      {[](auto& d) { d.cfg_scale = 100.5; }, "cfg_scale is 100.5"},
      {[](auto& d) { d.cfg_scale = -1; }, "cfg_scale is -1"},
      {[=](auto& d) { d.cfg_scale = nan; }, "cfg_scale is nan"},
      {[=](auto& d) { d.cfg_scale = infinity; }, "cfg_scale is inf"},
      {[](auto& d) { d.guidance_rescale = 1.1; }, "guidance_rescale is 1.1"},
      {[](auto& d) { d.guidance_rescale = -0.1; }, "guidance_rescale is -0.1"},
      {[=](auto& d) { d.guidance_rescale = nan; }, "guidance_rescale is nan"},
      {[](auto& d) { d.model.reset(); }, "model is not set"},
      {[](auto& d) { d.model = ""; }, "model is not set"},
      {[](auto& d) { d.model = ".."; }, "model is \"..\""},
      {[](auto& d) { d.model = "."; }, "model is \".\""},
      {[](auto& d) { d.model = "a/b"; }, "model is \"a/b\""},
      {[](auto& d) { d.model = "..\\b"; }, "model is"},
      {[](auto& d) { d.model = "a\xff"; }, "model is not UTF-8: byte 1 is 0xff"},
      {[](auto& d) { d.prompt = "abc\xc3"; }, "prompt is not UTF-8: byte 3 is 0xc3"},
      {[](auto& d) { d.prompt_2 = "\x80"; }, "prompt_2 is not UTF-8: byte 0 is 0x80"},
      {[](auto& d) { d.negative_prompt = "a\xed\xa0\x80"; }, "negative_prompt is not UTF-8: byte 1"},
      {[](auto& d) { d.negative_prompt_2 = "a\xc0\xaf"; }, "negative_prompt_2 is not UTF-8: byte 1"},
      {[](auto& d) { d.prompt = std::string_view("a\0b", 3); }, "prompt holds a NUL at byte 1"},
      {[](auto& d) {
         d.sampler = "Euler Karras";
         d.schedule = "normal";
       },
       "sampler is \"Euler Karras\", but schedule is \"normal\""},
      {[](auto& d) { d.initial_latent_count = 4; }, "initial_latent_count is 4, but initial_latents is NULL"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.named);
    const auto error = refusal(row.change);
    CHECK(error.status == Status::invalid_argument);
    CHECK_MESSAGE(error.message.starts_with(row.named), error.message);
  }
}

TEST_CASE("the limits themselves are taken") {
  for (const auto& change : std::vector<std::function<void(RequestDraft&)>>{
           [](auto& d) { d.width_px = 8; },
           [](auto& d) { d.height_px = 8192; },
           [](auto& d) { d.steps = 1; },
           [](auto& d) { d.image_count = 256; },
           [](auto& d) { d.cfg_scale = 100; },
           [](auto& d) { d.guidance_rescale = 1; },
           [](auto& d) { d.schedule = "automatic"; },
       }) {
    auto draft = plain();
    change(draft);
    CHECK(make_request(draft, false, 0).has_value());
  }
}

TEST_CASE("texts have a length, counted in bytes") {
  const std::string longest(65536, 'a');
  auto draft = plain();
  draft.prompt = longest;
  CHECK(make_request(draft, false, 0).value().prompt.size() == 65536);
  const std::string longer(65537, 'a');
  const auto error = refusal([&](auto& d) { d.negative_prompt = longer; });
  CHECK(error.status == Status::payload_too_large);
  CHECK(error.message == "negative_prompt has 65537 bytes; at most 65536 are taken");
  const auto model = refusal([&](auto& d) { d.model = longer; });
  CHECK(model.status == Status::payload_too_large);
}

TEST_CASE("initial latents must be finite, and not more than anything needs") {
  std::vector<float> latents(5, 0.25F);
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    latents[3] = bad;
    const auto error = refusal([&](auto& d) {
      d.initial_latents = latents.data();
      d.initial_latent_count = latents.size();
    });
    CHECK(error.status == Status::invalid_argument);
    CHECK(error.message.starts_with("initial_latents[3] is"));
  }
  // The count is judged before anything is read.
  const auto many = refusal([&](auto& d) {
    d.initial_latents = latents.data();
    d.initial_latent_count = std::numeric_limits<std::uint64_t>::max();
  });
  CHECK(many.status == Status::payload_too_large);
  const auto none = refusal([&](auto& d) { d.initial_latents = latents.data(); });
  CHECK(none.message.starts_with("initial_latent_count is 0"));
}

TEST_CASE("unknown samplers and schedules are unsupported") {
  CHECK(refusal([](auto& d) { d.sampler = "warp"; }).status == Status::unsupported);
  CHECK(refusal([](auto& d) { d.schedule = "warp"; }).status == Status::unsupported);
}

TEST_CASE("paths are taken where they are allowed, and only absolute ones") {
  CHECK(refusal([](auto& d) { d.model = "/models/tiles"; }).status == Status::unauthorised);
  CHECK(refusal([](auto& d) { d.model = "models/tiles"; }, true).status == Status::invalid_argument);
  auto draft = plain();
  draft.model = "/models/tiles";
  CHECK(make_request(draft, true, 0).value().model == "/models/tiles");
}

TEST_CASE("LoRA tags are taken out of the prompt, and what only looks like one stays") {
  struct Row {
    const char* prompt;
    const char* left;
    std::vector<std::pair<std::string, double>> loras;
  };
  for (const auto& row :
       std::vector<Row>{{"a potion", "a potion", {}},
                        {"a potion, <lora:frost:0.8>", "a potion", {{"frost", 0.8}}},
                        {"<lora:frost>, a potion", "a potion", {{"frost", 1}}},
                        {"a <lora:frost:-1> potion <lora:ember:2>", "a  potion", {{"frost", -1}, {"ember", 2}}},
                        {"<lora:frost:0.5>", "", {{"frost", 0.5}}},
                        {"a <lora:frost", "a <lora:frost", {}},
                        {"a <b> <lora", "a <b> <lora", {}},
                        {"a potion, ", "a potion, ", {}}}) {
    CAPTURE(row.prompt);
    auto draft = plain();
    draft.prompt = row.prompt;
    const auto request = make_request(draft, false, 0).value();
    CHECK(request.prompt == row.left);
    CHECK(request.prompt_as_given == (row.loras.empty() ? "" : row.prompt));
    REQUIRE(request.loras.size() == row.loras.size());
    for (std::size_t i = 0; i < row.loras.size(); ++i) {
      CHECK(request.loras[i].name == row.loras[i].first);
      CHECK(request.loras[i].scale == row.loras[i].second);
    }
  }
  for (const auto* bad : {"<lora:>", "<lora::1>", "<lora:a:>", "<lora:a:x>", "<lora:a:1:2>", "<lora:../a>", "<lora:/a>",
                          "<lora:a:nan>", "<lora:a:11>"}) {
    CAPTURE(bad);
    auto draft = plain();
    draft.prompt = bad;
    CHECK(make_request(draft, false, 0).has_error());
  }
}
