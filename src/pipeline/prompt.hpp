// Weights in prompts, in the writing of AUTOMATIC1111's webui (its wiki, "Attention/emphasis").
#pragma once

#include "base/result.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gf::pipeline {

/// How a prompt is read.
enum class PromptSyntax : std::uint32_t {
  weighted = 0,  ///< Brackets weigh, BREAK begins a new chunk, a backslash takes a bracket as it is.
  plain = 1,     ///< Every character is text.
};

/// What becomes of a prompt that is longer than the text encoder reads at once.
enum class LongPrompt : std::uint32_t {
  chunks = 0,  ///< It is read in chunks, and the denoiser sees them one behind the other, as in webui.
  cut = 1,     ///< What is too much is left out, with a warning, as in diffusers.
  refuse = 2,  ///< The job fails.
};

/// A part of a prompt that has one weight throughout.
struct PromptPiece {
  std::string text;
  double weight = 1;
  bool starts_chunk = false;  ///< It stands behind a BREAK.

  bool operator==(const PromptPiece&) const = default;
};

inline constexpr double max_prompt_weight = 100;

/// Takes a prompt apart; at least one piece, which may be empty. (a) weighs 1.1, ((a)) 1.21, [a] 1/1.1, (a:1.3) 1.3,
/// and what is inside of several brackets their product. A bracket that nobody closes counts to the end; one that
/// nobody opened, and ":1.3)" without a number that can be read, is text. BREAK, as a word of its own outside of or
/// within brackets, is no text. Linear in the length, whatever the depth. Errors: invalid_argument for a weight beyond
/// -100 to 100, naming it, and for brackets inside of more than 256 others; `field` names the prompt.
Result<std::vector<PromptPiece>> parse_prompt(std::string_view field, std::string_view prompt, PromptSyntax syntax);

}  // namespace gf::pipeline
