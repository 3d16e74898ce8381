#include "torch/prompt_chunks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <optional>

namespace gf::torch {
namespace {

constexpr std::size_t comma_reach = 20;

struct Weighted {
  std::int32_t id = 0;
  float weight = 1;
};

PromptChunk framed(const std::vector<Weighted>& tokens, const Tokenizer& tokenizer, std::size_t length) {
  PromptChunk chunk;
  std::vector<std::int32_t> ids;
  for (const auto& token : tokens) ids.push_back(token.id);
  chunk.ids = tokenizer.framed(ids, length);
  chunk.weights.assign(length, 1.0F);
  for (std::size_t at = 0; at < tokens.size(); ++at) chunk.weights[at + 1] = tokens[at].weight;
  chunk.weighs = std::ranges::any_of(tokens, [](const Weighted& token) { return token.weight != 1; });
  return chunk;
}

}  // namespace

Result<PromptChunks> chunks_of(const Prompt& prompt, const Tokenizer& tokenizer, std::size_t length,
                               LongPrompt longer) {
  const auto room = length - 2;
  const auto comma_ids = tokenizer.tokens(",");
  const std::int32_t comma = comma_ids.size() == 1 ? comma_ids.front() : -1;  // Not every vocabulary has one.
  PromptChunks out;
  std::vector<Weighted> tokens;  // Of the chunk that is being filled.
  std::optional<std::size_t> behind_comma;
  const auto end_chunk = [&] {
    out.chunks.push_back(framed(tokens, tokenizer, length));
    tokens.clear();
    behind_comma.reset();
  };
  for (const auto& piece : prompt.pieces) {
    // Also where nothing is in it: two in a row leave an empty chunk, as in webui.
    if (piece.starts_chunk && longer != LongPrompt::cut) end_chunk();
    for (const auto id : tokenizer.tokens(piece.text)) {
      ++out.tokens;
      if (tokens.size() == room) {
        if (longer == LongPrompt::cut) {
          ++out.cut;
          continue;
        }
        std::vector<Weighted> next;
        if (id != comma && behind_comma && room - *behind_comma < comma_reach) {
          const auto from = tokens.begin() + static_cast<std::ptrdiff_t>(*behind_comma);
          next.assign(from, tokens.end());
          tokens.erase(from, tokens.end());
        }
        end_chunk();
        tokens = std::move(next);
      }
      tokens.push_back({id, static_cast<float>(piece.weight)});
      if (id == comma) behind_comma = tokens.size();
    }
    // Counted to the end, so that the refusal can say how many there are; one too many is kept for it.
    if (out.chunks.size() > max_prompt_chunks) out.chunks.resize(max_prompt_chunks + 1);
  }
  if (!tokens.empty() || out.chunks.empty()) end_chunk();
  if (longer == LongPrompt::refuse && out.chunks.size() > 1) {
    return Error{
        Status::payload_too_large,
        fmt::format("the prompt has {} tokens; the model reads {} at once, and long_prompt says to refuse more",
                    out.tokens, room),
        {}};
  }
  if (out.chunks.size() > max_prompt_chunks) {
    return Error{Status::payload_too_large,
                 fmt::format("the prompt has {} tokens, in more than {} chunks of {}; make it shorter", out.tokens,
                             max_prompt_chunks, room),
                 {}};
  }
  return out;
}

}  // namespace gf::torch
