#include "pipeline/parameters_text.hpp"

#include "base/json.hpp"
#include "pipeline/samplers.hpp"

#include <fmt/format.h>

#include <string_view>

namespace gf::pipeline {
namespace {

/// As json.dumps(text, ensure_ascii=False) where webui's reader would otherwise end the value early.
std::string quoted(const std::string& value) {
  return value.find_first_of(",\n:") == std::string::npos ? value : gf::to_text(Json(value));
}

constexpr std::string_view white = " \t\r\n\v\f";

}  // namespace

std::string to_text(const ParametersText& parameters) {
  std::string text = parameters.prompt;
  if (!parameters.negative_prompt.empty()) text += "\nNegative prompt: " + parameters.negative_prompt;
  text += fmt::format("\nSteps: {}", parameters.steps);
  const auto add = [&text](std::string_view key, const std::string& value) {
    if (!value.empty()) text += fmt::format(", {}: {}", key, quoted(value));
  };
  add("Sampler", std::string(display_name(parameters.sampler)));
  add("Schedule type", parameters.schedule.empty() ? "Automatic" : std::string(display_name(parameters.schedule)));
  add("CFG scale", fmt::format("{}", parameters.cfg_scale));
  add("Seed", fmt::format("{}", parameters.seed));
  add("Size", fmt::format("{}x{}", parameters.width_px, parameters.height_px));
  add("Model hash", parameters.model_hash.substr(0, 10));
  add("Model", parameters.model);
  for (const auto& [key, value] : parameters.extra) add(key, value);
  if (!parameters.version.empty()) add("Version", "GameForge " + parameters.version);
  const auto first = text.find_first_not_of(white);
  return text.substr(first, text.find_last_not_of(white) - first + 1);
}

}  // namespace gf::pipeline
