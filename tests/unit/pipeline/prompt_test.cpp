#include "pipeline/prompt.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <random>
#include <string>
#include <vector>

using gf::Status;
using gf::pipeline::max_prompt_weight;
using gf::pipeline::parse_prompt;
using gf::pipeline::PromptPiece;
using gf::pipeline::PromptSyntax;

namespace {

std::vector<PromptPiece> parsed(std::string_view prompt) {
  return parse_prompt("prompt", prompt, PromptSyntax::weighted).value();
}

/// "text*weight|..." with a "/" before what starts a chunk, weights to four digits.
std::string shown(const std::vector<PromptPiece>& pieces) {
  std::string out;
  for (const auto& piece : pieces) {
    char weight[32];
    std::snprintf(weight, sizeof weight, "%.4g", piece.weight);
    out += (out.empty() ? "" : "|") + std::string(piece.starts_chunk ? "/" : "") + piece.text + "*" + weight;
  }
  return out;
}

}  // namespace

TEST_CASE("prompts are taken apart as webui's documentation of its attention syntax says") {
  struct Row {
    const char* prompt;
    const char* pieces;
  };
  const std::vector<Row> rows = {
      {"normal text", "normal text*1"},
      {"", "*1"},
      {"an (important) word", "an *1|important*1.1| word*1"},
      {"(unbalanced", "unbalanced*1.1"},
      {"\\(literal\\]", "(literal]*1"},
      {"(unnecessary)(parens)", "unnecessaryparens*1.1"},
      {"a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
       "a *1|house*1.573| *1.1|on*1| a *1.1|hill*0.55|, sun, *1.1|sky*1.464|.*1.1"},
      // Further, by the same rules.
      {"[less]", "less*0.9091"},
      {"((a))", "a*1.21"},
      {"(a:1)", "a*1"},
      {"(a:0)", "a*0"},
      {"(a:-1)", "a*-1"},
      {"(a:+.5)", "a*0.5"},
      {"(a: 1.5 )", "a*1.5"},
      {"(a:b)", "a:b*1.1"},
      {"(a:1.2.3)", "a:1.2.3*1.1"},
      {"(a:1e5)", "a:1e5*1.1"},
      {"[a:1.3]", "a:1.3*0.9091"},
      {"a:1.3)", "a:1.3)*1"},
      {"a)b]", "a)b]*1"},
      {"(a b:1.2, c)", "a b:1.2, c*1.1"},
      {"time 12:30 (noon:2)", "time 12:30 *1|noon*2"},
      {"back\\slash \\\\ end\\", "back\\slash \\ end\\*1"},
      {"(\\(a\\):1.5)", "(a)*1.5"},
      {"([cross)ing]", "cross*1|ing*0.9091"},
      {"()[]", "*1"},
      {"(a:)", "a:*1.1"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.prompt);
    CHECK(shown(parsed(row.prompt)) == row.pieces);
  }
}

TEST_CASE("BREAK is a word of its own, and begins a chunk") {
  CHECK(shown(parsed("a BREAK b")) == "a*1|/b*1");
  CHECK(shown(parsed("a\nBREAK\n(b:2)")) == "a*1|/*1|b*2");
  CHECK(shown(parsed("BREAK")) == "/*1");
  CHECK(shown(parsed("a BREAK BREAK b")) == "a*1|/*1|/b*1");
  CHECK(shown(parsed("(a BREAK b)")) == "a*1.1|/b*1.1");
  CHECK(shown(parsed("BREAKFAST unBREAKable _BREAK \xC3\xA9"
                     "BREAK")) ==
        "BREAKFAST unBREAKable _BREAK \xC3\xA9"
        "BREAK*1");
  CHECK(shown(parsed("a,BREAK,b")) == "a,*1|/,b*1");
}

TEST_CASE("a plain prompt is one piece, as it is") {
  const std::string text = "(a:1.3) [b] BREAK \\( ((((";
  const auto pieces = parse_prompt("prompt", text, PromptSyntax::plain).value();
  REQUIRE(pieces.size() == 1);
  CHECK(pieces[0] == PromptPiece{text, 1, false});
}

TEST_CASE("weights and depths that cannot be meant are refused, and name the prompt") {
  const auto refusal = [](const std::string& prompt) {
    const auto refused = parse_prompt("negative_prompt", prompt, PromptSyntax::weighted);
    REQUIRE(refused.has_error());
    CHECK(refused.error().status == Status::invalid_argument);
    return refused.error().message;
  };
  CHECK(refusal("a (potion:100.5)") ==
        "negative_prompt weighs \"potion\" by 100.5; weights are at most 100 either way");
  CHECK(refusal("((a:20):20)").find("by 400") != std::string::npos);
  CHECK(refusal("(a:" + std::string(400, '9') + ")").find("by inf") != std::string::npos);
  CHECK(refusal(std::string(257, '[') + "a").find("more than 256 others") != std::string::npos);
  CHECK(refusal("(a\xFF\n:200)") == "negative_prompt weighs \"a??\" by 200; weights are at most 100 either way");
  // Too small for a number is nothing, as many words as may be shown.
  const auto nothing = parse_prompt("p", "(a:0." + std::string(400, '0') + "1)", PromptSyntax::weighted);
  REQUIRE(nothing.has_value());
  CHECK(nothing.value()[0].weight == 0);
  CHECK(parse_prompt("p", "(a:100)", PromptSyntax::weighted).has_value());
  CHECK(parse_prompt("p", "(a:-100)", PromptSyntax::weighted).has_value());
}

TEST_CASE("whatever it is given, no character of text is lost, and the time is in proportion to the length") {
  std::mt19937 random(20261125);
  const std::string alphabet = "()[]\\:.123 ab,\n";
  for (int round = 0; round < 20'000; ++round) {
    std::string prompt;
    const auto length = random() % 24;
    for (std::uint32_t at = 0; at < length; ++at) prompt += alphabet[random() % alphabet.size()];
    CAPTURE(prompt);
    const auto pieces = parse_prompt("prompt", prompt, PromptSyntax::weighted);
    if (!pieces) {
      CHECK(pieces.error().message.find("weighs") != std::string::npos);
      continue;
    }
    std::string letters;
    for (const auto& piece : pieces.value()) {
      CHECK(std::abs(piece.weight) <= max_prompt_weight);
      for (const char c : piece.text) {
        if (c == 'a' || c == 'b' || c == ',') letters += c;
      }
    }
    std::string expected;
    for (const char c : prompt) {
      if (c == 'a' || c == 'b' || c == ',') expected += c;
    }
    CHECK(letters == expected);
    // What it gives, escaped, gives itself.
    std::string again;
    for (const auto& piece : pieces.value()) {
      for (const char c : piece.text)
        again += (std::string_view("()[]\\").find(c) == std::string_view::npos ? "" : "\\") + std::string(1, c);
    }
    std::string text;
    for (const auto& piece : pieces.value()) text += piece.text;
    CHECK(shown(parsed(again)) == text + "*1");
  }
  const auto took_s = [](const std::string& prompt) {
    const auto from = std::chrono::steady_clock::now();
    (void)parse_prompt("prompt", prompt, PromptSyntax::weighted);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
  };
  std::string crossing;
  for (int group = 0; group < 60; ++group) {
    for (int at = 0; at < 120; ++at) crossing += "([";
    crossing += "a";
    for (int at = 0; at < 120; ++at) crossing += ")";
    for (int at = 0; at < 120; ++at) crossing += "]";
  }
  CHECK(took_s(crossing) < 1.0);
  CHECK(took_s(std::string(65'536, '(')) < 1.0);
  CHECK(took_s(std::string(65'536, ':')) < 1.0);
  std::string colons = "(";
  while (colons.size() < 65'000) colons += ": 1";
  CHECK(took_s(colons) < 1.0);
}
