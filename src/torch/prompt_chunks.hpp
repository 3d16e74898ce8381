// Prompts of any length and with weights, as rows that a text encoder reads.
#pragma once

#include "base/result.hpp"
#include "torch/tokenizer.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace gf::torch {

/// A part of a prompt that has one weight throughout.
struct PromptPiece {
  std::string text;
  double weight = 1;
  bool starts_chunk = false;
};

struct Prompt {
  std::vector<PromptPiece> pieces;

  Prompt() = default;
  Prompt(std::string text) { pieces.push_back({std::move(text)}); }
  Prompt(const char* text) : Prompt(std::string(text)) {}
};

enum class LongPrompt : std::uint32_t { chunks = 0, cut = 1, refuse = 2 };

/// What one call of the encoder reads: begin, tokens, end, padding.
struct PromptChunk {
  std::vector<std::int64_t> ids;
  std::vector<float> weights;  ///< One for each id; of begin, end and padding 1.
  bool weighs = false;         ///< Whether any is not 1.
};

struct PromptChunks {
  std::vector<PromptChunk> chunks;  ///< At least one.
  std::size_t tokens = 0;           ///< Of the whole prompt, without begin, end and padding.
  std::size_t cut = 0;              ///< Of these left out.
};

/// A prompt's keys and values are held for all layers while it is worked on: 1,200 tokens are 0.8 GB for SDXL.
inline constexpr std::size_t max_prompt_chunks = 16;

/// length: ids of a chunk, 77 for CLIP. A chunk that is full ends behind its last comma, if that is one of its last 20
/// tokens, as in AUTOMATIC1111's webui; one that a piece with `starts_chunk` ends is padded. With LongPrompt::cut the
/// first length - 2 tokens are taken and nothing else matters.
/// Errors: payload_too_large for more chunks than max_prompt_chunks, and with LongPrompt::refuse for more than one,
/// with the number of tokens.
Result<PromptChunks> chunks_of(const Prompt& prompt, const Tokenizer& tokenizer, std::size_t length, LongPrompt longer);

}  // namespace gf::torch
