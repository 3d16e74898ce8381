#include "pipeline/samplers.hpp"

#include "base/utf8.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace gf::pipeline {
namespace {

using namespace std::string_view_literals;

// Names of stable-diffusion-webui 1.10 (modules/sd_samplers_kdiffusion.py), ComfyUI (comfy/samplers.py), diffusers 0.42
// (the classes of a scheduler_config.json) and InvokeAI ("k_...").
constexpr std::array euler_spellings = {"k_euler"sv, "eulerdiscretescheduler"sv, "euler_discrete"sv, "sample_euler"sv};
constexpr std::array euler_a_spellings = {"euler_ancestral"sv,          "k_euler_a"sv,
                                          "k_euler_ancestral"sv,        "eulerancestraldiscretescheduler"sv,
                                          "euler_ancestral_discrete"sv, "sample_euler_ancestral"sv};
constexpr std::array sampler_rows = {
    NamedChoice{"euler", "Euler", euler_spellings},
    NamedChoice{"euler_a", "Euler a", euler_a_spellings},
};

constexpr std::array schedule_rows = {
    NamedChoice{"normal", "Normal", {}},
    NamedChoice{"karras", "Karras", {}},
    NamedChoice{"exponential", "Exponential", {}},
};

constexpr std::size_t longest_name = 64;

/// Lower case, and one underscore for every run of blanks, dashes and underscores.
std::string folded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (c == ' ' || c == '-' || c == '_' || c == '\t') {
      if (!out.empty() && out.back() != '_') out += '_';
    } else {
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  while (!out.empty() && out.back() == '_') out.pop_back();
  return out;
}

const NamedChoice* find(std::span<const NamedChoice> rows, std::string_view name) {
  for (const auto& row : rows) {
    if (row.name == name || std::ranges::find(row.spellings, name) != row.spellings.end()) return &row;
  }
  return nullptr;
}

std::string names_of(std::span<const NamedChoice> rows) {
  std::string out;
  for (const auto& row : rows) {
    if (!out.empty()) out += ", ";
    out += row.name;
  }
  return out;
}

bool is_automatic(std::string_view name) { return name.empty() || name == "automatic" || name == "auto"; }

}  // namespace

std::span<const NamedChoice> samplers() noexcept { return sampler_rows; }
std::span<const NamedChoice> schedules() noexcept { return schedule_rows; }

Result<SamplerChoice> find_sampler(std::string_view text) {
  if (text.size() <= longest_name) {
    const auto name = folded(text);
    if (const auto* row = find(sampler_rows, name)) return SamplerChoice{row->name, {}};
    // webui before 1.9 wrote the schedule after the sampler: "Euler a Karras".
    if (const auto cut = name.rfind('_'); cut != std::string::npos) {
      const auto* row = find(sampler_rows, std::string_view(name).substr(0, cut));
      const auto tail = std::string_view(name).substr(cut + 1);
      if (row != nullptr && is_automatic(tail)) return SamplerChoice{row->name, {}};
      const auto* schedule = find(schedule_rows, tail);
      if (row != nullptr && schedule != nullptr) return SamplerChoice{row->name, schedule->name};
    }
  }
  return Error{
      Status::unsupported, fmt::format("sampler {} is unknown; known are {}", shown(text), names_of(sampler_rows)), {}};
}

Result<std::string_view> find_schedule(std::string_view text) {
  if (text.size() <= longest_name) {
    const auto name = folded(text);
    if (is_automatic(name)) return std::string_view{};
    if (const auto* row = find(schedule_rows, name)) return row->name;
  }
  return Error{Status::unsupported,
               fmt::format("schedule {} is unknown; known are automatic, {}", shown(text), names_of(schedule_rows)),
               {}};
}

std::string_view display_name(std::string_view name) noexcept {
  for (const auto& row : sampler_rows) {
    if (row.name == name) return row.display;
  }
  for (const auto& row : schedule_rows) {
    if (row.name == name) return row.display;
  }
  return name;
}

}  // namespace gf::pipeline
