// Long and weighted prompts: how they are cut into rows, and what the model makes of them.
#include "torch/prompt_chunks.hpp"

#include "fixtures.hpp"
#include "torch/model.hpp"
#include "torch/run.hpp"

#include <c10/core/InferenceMode.h>
#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace {

using namespace gf::torch;
using fixtures::TestCall;

const Tokenizer& tokenizer() {
  static const auto made = Tokenizer::make(fixtures::files_of("tokenizer")).value();
  return made;
}

std::string cats(int count, int comma_at = -1) {
  std::string out;
  for (int at = 0; at < count; ++at) out += at == comma_at ? ", " : "cat ";
  return out;
}

PromptChunks chunked(const Prompt& prompt, LongPrompt longer = LongPrompt::chunks) {
  return chunks_of(prompt, tokenizer(), 77, longer).value();
}

/// Tokens between begin and end, without padding that looks like an end.
std::size_t filled(const PromptChunk& chunk) {
  std::size_t count = 0;
  while (count + 1 < chunk.ids.size() && chunk.ids[count + 1] != tokenizer().end()) ++count;
  return count;
}

struct Loaded : fixtures::Loaded {
  Loaded() : fixtures::Loaded(fixtures::golden_model().string()) {}

  Conditioning encode(const Prompts& prompts) const {
    auto encoded = model->encode(prompts, call.call());
    DOCTEST_REQUIRE(encoded.has_value());
    return std::move(encoded).assume_value();
  }
  Conditioning encode(const Prompt& prompt) const {
    Prompts prompts;
    prompts.prompt = prompt;
    prompts.negative = "blurry";
    return encode(prompts);
  }
  at::Tensor picture(const Conditioning& conditioning) const {
    RunOptions options;
    options.width = options.height = 64;
    options.steps = 3;
    options.cfg_scale = 5;
    options.scheduler = model->scheduler();
    options.sizes = {64, 64, 0, 0, 64, 64};
    auto run = Run::start(*model, conditioning, options, call.call()).value();
    while (run->done() < run->steps()) DOCTEST_REQUIRE(run->step(call.call()).has_value());
    return run->decode(call.call()).value();
  }
};

const Loaded& loaded() {
  static const Loaded once;
  return once;
}

}  // namespace

DOCTEST_TEST_CASE("75 tokens are a chunk; each further 75 another, to 16; every token is in one, in order") {
  for (const int count : {0, 1, 75, 76, 150, 151, 500, 1200}) {
    DOCTEST_CAPTURE(count);
    const auto out = chunked(cats(count));
    DOCTEST_CHECK(out.tokens == static_cast<std::size_t>(count));
    DOCTEST_CHECK(out.cut == 0);
    DOCTEST_CHECK(out.chunks.size() == static_cast<std::size_t>(std::max(1, (count + 74) / 75)));
    std::size_t total = 0;
    for (const auto& chunk : out.chunks) {
      DOCTEST_CHECK(chunk.ids.size() == 77);
      DOCTEST_CHECK(chunk.ids.front() == tokenizer().begin());
      DOCTEST_CHECK(chunk.ids.back() == tokenizer().end());
      DOCTEST_CHECK_FALSE(chunk.weighs);
      total += filled(chunk);
    }
    DOCTEST_CHECK(total == static_cast<std::size_t>(count));
  }
  // A prompt that fits reads as it always did.
  DOCTEST_CHECK(chunked("a red potion").chunks[0].ids == tokenizer().encode("a red potion", 77));
  const auto refused = chunks_of(cats(1201), tokenizer(), 77, LongPrompt::chunks);
  DOCTEST_REQUIRE(refused.has_error());
  DOCTEST_CHECK(refused.error().status == gf::Status::payload_too_large);
  DOCTEST_CHECK(refused.error().message.find("1201 tokens") != std::string::npos);
}

DOCTEST_TEST_CASE("a full chunk ends behind a comma among its last twenty tokens, as in webui") {
  // Place of the comma, and how much the first chunk then has.
  for (const auto& [comma, first] :
       {std::pair(74, 75), std::pair(60, 61), std::pair(55, 56), std::pair(54, 75), std::pair(75, 75)}) {
    DOCTEST_CAPTURE(comma);
    const auto out = chunked(cats(100, comma));
    DOCTEST_REQUIRE(out.chunks.size() == 2);
    DOCTEST_CHECK(filled(out.chunks[0]) == static_cast<std::size_t>(first));
    DOCTEST_CHECK(filled(out.chunks[1]) == static_cast<std::size_t>(100 - first));
  }
}

DOCTEST_TEST_CASE("pieces keep their weights across chunks, and BREAK ends one wherever it stands") {
  Prompt prompt;
  prompt.pieces = {{cats(70), 1, false}, {cats(10), 1.5, false}, {"dog", 1, true}};
  const auto out = chunked(prompt);
  DOCTEST_REQUIRE(out.chunks.size() == 3);
  DOCTEST_CHECK(out.tokens == 81);
  DOCTEST_CHECK(filled(out.chunks[1]) == 5);
  DOCTEST_CHECK(filled(out.chunks[2]) == 1);
  DOCTEST_CHECK(out.chunks[0].weights[70] == 1.0F);
  DOCTEST_CHECK(out.chunks[0].weights[71] == 1.5F);
  DOCTEST_CHECK(out.chunks[0].weights[76] == 1.0F);
  DOCTEST_CHECK(out.chunks[1].weights[5] == 1.5F);
  DOCTEST_CHECK(out.chunks[1].weights[6] == 1.0F);
  DOCTEST_CHECK_FALSE(out.chunks[2].weighs);
  Prompt breaks;
  for (int at = 0; at < 20; ++at) breaks.pieces.push_back({"", 1, true});
  DOCTEST_CHECK(chunks_of(breaks, tokenizer(), 77, LongPrompt::chunks).error().status == gf::Status::payload_too_large);
}

DOCTEST_TEST_CASE("a long prompt is cut or refused where that is wished") {
  const auto cut = chunked(cats(80, 70), LongPrompt::cut);
  DOCTEST_REQUIRE(cut.chunks.size() == 1);
  DOCTEST_CHECK(cut.cut == 5);
  DOCTEST_CHECK(cut.chunks[0].ids == tokenizer().encode(cats(80, 70), 77));
  const auto refused = chunks_of(cats(76), tokenizer(), 77, LongPrompt::refuse);
  DOCTEST_REQUIRE(refused.has_error());
  DOCTEST_CHECK(refused.error().status == gf::Status::payload_too_large);
  DOCTEST_CHECK(refused.error().message.find("76 tokens") != std::string::npos);
  DOCTEST_CHECK(chunks_of(cats(75), tokenizer(), 77, LongPrompt::refuse).has_value());
}

DOCTEST_TEST_CASE(
    "chunks are the encodings of their parts, one behind the other; what is said of the whole is the first's") {
  const c10::InferenceMode inference;
  const auto& model = loaded();
  Prompt both;
  both.pieces = {{"a red potion", 1, false}, {"on a table", 1, true}};
  const auto one = model.encode(Prompt("a red potion"));
  const auto two = model.encode(Prompt("on a table"));
  const auto joined = model.encode(both);
  DOCTEST_CHECK(at::equal(joined.positive, at::cat({one.positive, two.positive}, 1)));
  DOCTEST_CHECK(at::equal(joined.pooled, one.pooled));
  DOCTEST_CHECK(joined.length.chunks == 2);
  DOCTEST_CHECK(joined.negative_length.chunks == 1);
  // A shorter second prompt goes on with empty chunks.
  Prompts prompts;
  prompts.prompt = both;
  prompts.prompt_2 = "a red potion";
  prompts.guidance = false;
  const auto uneven = model.encode(prompts);
  DOCTEST_CHECK(uneven.positive.size(1) == 2 * 77);
  const auto first_width = model.model->text()[0].config.hidden;
  const auto empty = model.encode(Prompt(""));
  DOCTEST_CHECK(
      at::equal(uneven.positive.narrow(1, 77, 77).narrow(2, first_width, uneven.positive.size(2) - first_width),
                empty.positive.narrow(2, first_width, empty.positive.size(2) - first_width)));
}

DOCTEST_TEST_CASE("prompts of different lengths are each attended to as they are") {
  const c10::InferenceMode inference;
  const auto& model = loaded();
  Prompts prompts;
  prompts.prompt.pieces = {{"a red potion", 1, false}, {"on a table", 1, true}};
  prompts.negative = "blurry";
  const auto uneven = model.picture(model.encode(prompts));
  // Twice the same states change no attention, since every weight is halved and counted twice; but now both sides are
  // of one length, and go through as one batch.
  prompts.negative->pieces = {{"blurry", 1, false}, {"blurry", 1, true}};
  const auto even = model.picture(model.encode(prompts));
  DOCTEST_CHECK((uneven - even).abs().max().item<float>() < 1e-4F);
  prompts.negative = "blurry";
  prompts.prompt = "a red potion";
  DOCTEST_CHECK((uneven - model.picture(model.encode(prompts))).abs().max().item<float>() > 1e-3F);
}

DOCTEST_TEST_CASE("weights multiply a token's states and keep the mean; a weight of 1 changes no bit") {
  const c10::InferenceMode inference;
  const auto& model = loaded();
  Prompt ones;
  ones.pieces = {{"a red ", 1, false}, {"potion", 1, false}};
  const auto plain = model.encode(Prompt("a red potion"));
  DOCTEST_CHECK(at::equal(model.encode(ones).positive, plain.positive));
  ones.pieces[1].weight = 1.5;
  const auto weighted = model.encode(ones);
  // Each encoder's states by themselves. The third token is the weighted one, behind begin.
  std::int64_t from = 0;
  for (const auto& part : model.model->text()) {
    const auto width = part.config.hidden;
    const auto before = plain.positive.narrow(2, from, width);
    auto expected = before.clone();
    expected.select(1, 3).mul_(1.5);
    expected.mul_(before.mean() / expected.mean());
    DOCTEST_CHECK(at::allclose(weighted.positive.narrow(2, from, width), expected, 1e-5, 1e-6));
    from += width;
  }
  DOCTEST_CHECK(at::equal(weighted.pooled, plain.pooled));
  DOCTEST_CHECK_FALSE(at::equal(model.picture(weighted), model.picture(plain)));
}
