#include "pipeline/parameters_text.hpp"

#include <doctest/doctest.h>

#include <clocale>
#include <limits>
#include <string>

using gf::pipeline::ParametersText;

namespace {

ParametersText usual() {
  ParametersText parameters;
  parameters.prompt = "a red potion";
  parameters.steps = 20;
  parameters.sampler = "euler";
  parameters.schedule = "normal";
  parameters.cfg_scale = 4;
  parameters.seed = 1;
  parameters.width_px = 32;
  parameters.height_px = 32;
  parameters.model_hash = "0123456789abcdef0123456789abcdef";
  parameters.model = "gameforge-tiles";
  parameters.version = "0.1.0";
  return parameters;
}

}  // namespace

TEST_CASE("golden: the lines of webui's create_infotext, with and without a negative prompt") {
  auto parameters = usual();
  CHECK(to_text(parameters) ==
        "a red potion\n"
        "Steps: 20, Sampler: Euler, Schedule type: Normal, CFG scale: 4, Seed: 1, Size: 32x32, Model hash: 0123456789, "
        "Model: gameforge-tiles, Version: GameForge 0.1.0");
  parameters.negative_prompt = "blurry, dark";
  parameters.sampler = "euler_a";
  parameters.schedule = "karras";
  parameters.cfg_scale = 7.5;
  parameters.seed = std::numeric_limits<std::uint64_t>::max();
  CHECK(to_text(parameters) ==
        "a red potion\n"
        "Negative prompt: blurry, dark\n"
        "Steps: 20, Sampler: Euler a, Schedule type: Karras, CFG scale: 7.5, Seed: 18446744073709551615, Size: 32x32, "
        "Model hash: 0123456789, Model: gameforge-tiles, Version: GameForge 0.1.0");
}

TEST_CASE("what is not known is left out, and names that webui has not stay as they are") {
  auto parameters = usual();
  parameters.model_hash.clear();
  parameters.model.clear();
  parameters.schedule.clear();
  parameters.version.clear();
  parameters.sampler = "ours";
  CHECK(to_text(parameters) ==
        "a red potion\nSteps: 20, Sampler: ours, Schedule type: Automatic, CFG scale: 4, Seed: 1, Size: 32x32");
}

TEST_CASE("a value with a comma, colon or line feed is quoted as JSON, and no other") {
  auto parameters = usual();
  parameters.model = "tiles, \"new\"";
  parameters.extra = {
      {"Prompt 2", "two: lines\nand \xC3\xA9"}, {"RNG", "CPU"}, {"Ratio", "1:2"}, {"Quoted", "a \"b\""}};
  CHECK(to_text(parameters) ==
        "a red potion\n"
        "Steps: 20, Sampler: Euler, Schedule type: Normal, CFG scale: 4, Seed: 1, Size: 32x32, Model hash: 0123456789, "
        "Model: \"tiles, \\\"new\\\"\", Prompt 2: \"two: lines\\nand \xC3\xA9\", RNG: CPU, Ratio: \"1:2\", Quoted: a "
        "\"b\", "
        "Version: GameForge 0.1.0");
}

TEST_CASE("prompts keep their lines, and the text has no white ends") {
  auto parameters = usual();
  parameters.prompt = "  first\nsecond";
  CHECK(to_text(parameters).starts_with("first\nsecond\nSteps: 20, "));
  parameters.prompt.clear();
  CHECK(to_text(parameters).starts_with("Steps: 20, "));
}

TEST_CASE("numbers do not follow the locale, and are as short as they can be read back") {
  const std::string before = std::setlocale(LC_ALL, nullptr);
  std::setlocale(LC_ALL, "de_DE.UTF-8");  // Without it on the machine, the test still checks the digits.
  auto parameters = usual();
  parameters.cfg_scale = 0.1 + 0.2;
  parameters.width_px = 8192;
  const auto text = to_text(parameters);
  std::setlocale(LC_ALL, before.c_str());
  CHECK(text.find("CFG scale: 0.30000000000000004, ") != std::string::npos);
  CHECK(text.find("Size: 8192x32") != std::string::npos);
}
