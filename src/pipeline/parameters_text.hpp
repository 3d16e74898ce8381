// The recipe of an image in the form of stable-diffusion-webui, which most viewers and tools of the field read.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace gf::pipeline {

/// What the text tells. Empty texts are left out, as webui leaves out what it does not know.
struct ParametersText {
  std::string prompt;
  std::string negative_prompt;
  std::uint32_t steps = 0;
  std::string sampler;   ///< "euler", "euler_a", ...: written under webui's name where webui has it, else as it is.
  std::string schedule;  ///< "normal", "karras", "exponential": likewise. Empty: the model's own, webui's "Automatic".
  double cfg_scale = 0;
  std::uint64_t seed = 0;
  std::uint32_t width_px = 0;
  std::uint32_t height_px = 0;
  std::string model_hash;  ///< Hex; webui shows the first 10 digits of the SHA-256, and so is it cut here.
  std::string model;
  /// Further keys and values, before the version. A value that holds a comma, colon or line feed is quoted.
  std::vector<std::pair<std::string, std::string>> extra;
  std::string version;  ///< Of the library, "0.1.0".
};

/// Source: stable-diffusion-webui 1.10, create_infotext in modules/processing.py, quote in modules/infotext_utils.py.
/// Numbers are written without the locale and as short as they can be read back.
std::string to_text(const ParametersText& parameters);

}  // namespace gf::pipeline
