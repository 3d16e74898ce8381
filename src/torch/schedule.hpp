// Schedules: what noise the model was trained at, and which of those levels and timesteps a run visits.
#pragma once

#include "base/result.hpp"
#include "torch/config.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace gf::torch {

/// One value for each trained timestep, computed in float32 as diffusers does, so that the last bit agrees.
struct TrainedNoise {
  std::vector<float> alphas;   ///< Cumulative products of (1 - beta): how much of the picture is left.
  std::vector<double> sigmas;  ///< sqrt((1 - alpha) / alpha), rising; infinite where alpha is 0.
  std::vector<double> log_sigmas;
};

/// `keep_above_zero`: a terminal level of no signal at all becomes one that is almost none (diffusers' 2^-24), for
/// samplers that divide by it.
TrainedNoise trained_noise(const SchedulerConfig& config, bool keep_above_zero);

/// What a run visits: the levels in falling order, one more than the timesteps or as many, and what the network is
/// told.
struct NoiseLevels {
  std::vector<double> sigmas;
  std::vector<double> timesteps;
};

/// How a family of diffusers' schedulers (version 0.42) differs from another in the same formulas.
struct LevelRules {
  Spacing spacing = Spacing::linspace;  ///< Where the config names none.
  /// Levels end with the run: `steps` of them, the last above 0 (Euler, Heun, DPM2, LMS, DPM++ SDE). Else one more is
  /// laid out and its last left off (DPM++ multistep, UniPC, DEIS), and Karras' form spans all trained levels.
  bool multistep = false;
  bool round_timesteps = false;  ///< Whole timesteps also in Karras' and Lu's form.
  bool narrow_linspace = true;   ///< linspace in float32 before the interpolation.
};

/// Errors: invalid_argument when `steps` is not 1 to the trained timesteps; not_finite when the config's numbers give
/// levels that are not finite or not above 0.
Result<NoiseLevels> noise_levels(const SchedulerConfig& config, const TrainedNoise& trained, std::int64_t steps,
                                 const LevelRules& rules);

/// Whole trained timesteps, falling, of samplers that step along the timesteps alone (DDIM, DDPM, PNDM).
/// Errors: invalid_argument as above.
Result<std::vector<std::int64_t>> whole_timesteps(const SchedulerConfig& config, std::int64_t steps);

/// Whether the config gives levels at all. Errors: corrupt_file names `path`.
Result<void> noise_levels_are_sound(const SchedulerConfig& config, const std::string& path);

/// The trained timestep, as a real number, whose noise level is `sigma`.
double timestep_of(double sigma, const std::vector<double>& log_sigmas);

}  // namespace gf::torch
