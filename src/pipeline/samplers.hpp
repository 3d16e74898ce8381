// Names of samplers and schedules: one table with the spellings that users of other programs bring along.
#pragma once

#include "base/result.hpp"

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace gf::pipeline {

/// One sampler or schedule. All texts live as long as the process.
struct NamedChoice {
  std::string_view name;                        ///< Canonical: "euler_a". What crosses the backend seam.
  std::string_view display;                     ///< As stable-diffusion-webui prints it: "Euler a".
  std::span<const std::string_view> spellings;  ///< Further ones, folded: lower case, '_' for blanks and dashes.
};

/// Every sampler, the default first.
std::span<const NamedChoice> samplers() noexcept;
/// Every schedule that a request can ask for. "automatic" is none of them: it stands for the model's own.
std::span<const NamedChoice> schedules() noexcept;

/// What a sampler's name asked for. The views are canonical names of the tables.
struct SamplerChoice {
  std::string_view sampler;
  std::string_view schedule;  ///< Empty unless the name carried one, as in "Euler a Karras".
};

/// Finds a sampler by any spelling of webui, ComfyUI or diffusers; case, blanks, dashes and underscores do not matter.
/// Errors: unsupported, and the message lists the known names.
Result<SamplerChoice> find_sampler(std::string_view text);

/// Finds a schedule; empty for "automatic".
/// Errors: unsupported, and the message lists the known names.
Result<std::string_view> find_schedule(std::string_view text);

/// The name as webui prints it; `name` itself where it is not in the table.
std::string_view display_name(std::string_view name) noexcept;

}  // namespace gf::pipeline
