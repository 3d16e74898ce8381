// gf_engine_options in the engine's own types: for gf_engine_open and gf_doctor_json.
#pragma once

#include "base/result.hpp"
#include "engine/engine.hpp"
#include "gameforge/gameforge.h"

#include <cstddef>

namespace gf::capi {

/// The struct's size when it was first released.
inline constexpr std::size_t first_engine_options_bytes = 80;

/// Copies what the caller passed; ranges are the engine's to check.
/// Errors: invalid_argument (struct_size, a NULL where text must be); unsupported (a newer field, an unknown level).
Result<engine::EngineOptions> read_engine_options(const gf_engine_options* options);

}  // namespace gf::capi
