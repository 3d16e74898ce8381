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
constexpr std::array heun_spellings = {"k_heun"sv, "heundiscretescheduler"sv, "heun_discrete"sv, "sample_heun"sv};
constexpr std::array dpm2_spellings = {
    "dpm_2"sv, "k_dpm_2"sv, "kdpm2"sv, "kdpm2discretescheduler"sv, "k_dpm_2_discrete"sv, "sample_dpm_2"sv};
constexpr std::array dpm2_a_spellings = {"dpm2_ancestral"sv,
                                         "dpm_2_a"sv,
                                         "dpm_2_ancestral"sv,
                                         "k_dpm_2_a"sv,
                                         "k_dpm_2_ancestral"sv,
                                         "kdpm2ancestraldiscretescheduler"sv,
                                         "k_dpm_2_ancestral_discrete"sv,
                                         "sample_dpm_2_ancestral"sv};
constexpr std::array lms_spellings = {"k_lms"sv, "lmsdiscretescheduler"sv, "lms_discrete"sv, "sample_lms"sv};
constexpr std::array dpmpp_2m_spellings = {"dpm++_2m"sv, "k_dpmpp_2m"sv, "dpmsolvermultistepscheduler"sv,
                                           "dpmsolver_multistep"sv, "sample_dpmpp_2m"sv};
constexpr std::array dpmpp_2m_sde_spellings = {"dpm++_2m_sde"sv, "k_dpmpp_2m_sde"sv, "sample_dpmpp_2m_sde"sv};
constexpr std::array dpmpp_sde_spellings = {"dpm++_sde"sv, "k_dpmpp_sde"sv, "dpmsolversdescheduler"sv,
                                            "dpmsolver_sde"sv, "sample_dpmpp_sde"sv};
constexpr std::array dpmpp_2s_spellings = {"dpm++_2s"sv, "k_dpmpp_2s"sv, "dpmsolversinglestepscheduler"sv,
                                           "dpmsolver_singlestep"sv};
constexpr std::array dpmpp_3m_spellings = {"dpm++_3m"sv, "k_dpmpp_3m"sv};
constexpr std::array dpmpp_3m_sde_spellings = {"dpm++_3m_sde"sv, "k_dpmpp_3m_sde"sv, "sample_dpmpp_3m_sde"sv};
constexpr std::array ddim_spellings = {"ddimscheduler"sv, "k_ddim"sv};
constexpr std::array plms_spellings = {"k_plms"sv};
constexpr std::array pndm_spellings = {"pndmscheduler"sv, "k_pndm"sv};
constexpr std::array unipc_spellings = {"uni_pc"sv, "uni_pc_bh2"sv, "unipcmultistepscheduler"sv, "unipc_multistep"sv,
                                        "k_unipc"sv};
constexpr std::array deis_spellings = {"deismultistepscheduler"sv, "deis_multistep"sv, "k_deis"sv};
constexpr std::array lcm_spellings = {"lcmscheduler"sv, "sample_lcm"sv};
constexpr std::array ddpm_spellings = {"ddpmscheduler"sv, "sample_ddpm"sv};
constexpr std::array sampler_rows = {
    NamedChoice{"euler", "Euler", euler_spellings},
    NamedChoice{"euler_a", "Euler a", euler_a_spellings},
    NamedChoice{"heun", "Heun", heun_spellings},
    NamedChoice{"dpm2", "DPM2", dpm2_spellings},
    NamedChoice{"dpm2_a", "DPM2 a", dpm2_a_spellings},
    NamedChoice{"lms", "LMS", lms_spellings},
    NamedChoice{"dpmpp_2m", "DPM++ 2M", dpmpp_2m_spellings},
    NamedChoice{"dpmpp_2m_sde", "DPM++ 2M SDE", dpmpp_2m_sde_spellings},
    NamedChoice{"dpmpp_sde", "DPM++ SDE", dpmpp_sde_spellings},
    NamedChoice{"dpmpp_2s", "DPM++ 2S", dpmpp_2s_spellings},
    NamedChoice{"dpmpp_3m", "DPM++ 3M", dpmpp_3m_spellings},
    NamedChoice{"dpmpp_3m_sde", "DPM++ 3M SDE", dpmpp_3m_sde_spellings},
    NamedChoice{"ddim", "DDIM", ddim_spellings},
    NamedChoice{"plms", "PLMS", plms_spellings},
    NamedChoice{"pndm", "PNDM", pndm_spellings},
    NamedChoice{"unipc", "UniPC", unipc_spellings},
    NamedChoice{"deis", "DEIS", deis_spellings},
    NamedChoice{"lcm", "LCM", lcm_spellings},
    NamedChoice{"ddpm", "DDPM", ddpm_spellings},
};

constexpr std::array sgm_uniform_spellings = {"sgmuniform"sv, "trailing"sv};
constexpr std::array schedule_rows = {
    NamedChoice{"normal", "Normal", {}},
    NamedChoice{"karras", "Karras", {}},
    NamedChoice{"exponential", "Exponential", {}},
    NamedChoice{"sgm_uniform", "SGM Uniform", sgm_uniform_spellings},
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

/// `name` without "_tail" at its end; empty where it has none.
std::string_view without_tail(std::string_view name, std::string_view tail) {
  const bool has = name.size() > tail.size() + 1 && name.ends_with(tail) && name[name.size() - tail.size() - 1] == '_';
  return has ? name.substr(0, name.size() - tail.size() - 1) : std::string_view{};
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
    for (const auto word : {"automatic"sv, "auto"sv}) {
      const auto* row = find(sampler_rows, without_tail(name, word));
      if (row != nullptr) return SamplerChoice{row->name, {}};
    }
    for (const auto& schedule : schedule_rows) {
      const auto* row = find(sampler_rows, without_tail(name, schedule.name));
      if (row != nullptr) return SamplerChoice{row->name, schedule.name};
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
