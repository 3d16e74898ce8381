// The vocabulary of CLIP's tokenizer, which single-file checkpoints do without. From OpenAI's CLIP (MIT licence), as
// the model that ships has it: models/gameforge-tiles/tokenizer.
#pragma once

#include <string>
#include <string_view>

namespace gf::pipeline {

/// merges.txt as it is. Lives as long as the process.
std::string_view clip_merges() noexcept;

/// vocab.json, which follows from the merges: bytes, bytes that end a word, merges in their order, the two marks
/// (openai/CLIP, simple_tokenizer.py). Throws bad_alloc.
std::string clip_vocabulary_json();

}  // namespace gf::pipeline
