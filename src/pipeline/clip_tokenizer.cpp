#include "pipeline/clip_tokenizer.hpp"

#include "base/json_text.hpp"
#include "base/utf8.hpp"

#include <cstdint>
#include <utility>

// The file's bytes, between two symbols.
asm(R"(
.pushsection .rodata
gf_clip_merges_begin:
.incbin ")" GAMEFORGE_CLIP_MERGES R"("
gf_clip_merges_end:
.byte 0
.popsection
)");
extern "C" const char gf_clip_merges_begin[] __attribute__((visibility("hidden")));
extern "C" const char gf_clip_merges_end[] __attribute__((visibility("hidden")));

namespace gf::pipeline {

std::string_view clip_merges() noexcept {
  return {gf_clip_merges_begin, static_cast<std::size_t>(gf_clip_merges_end - gf_clip_merges_begin)};
}

std::string clip_vocabulary_json() {
  // Bytes that print stand for themselves, the others for the characters from 256 on, in this order (GPT-2's table).
  std::vector<std::string> bytes;
  const auto prints = [](int byte) {
    return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
  };
  const auto text_of = [](char32_t character) {
    std::string out;
    append_utf8(out, character);
    return out;
  };
  for (int byte = 0; byte < 256; ++byte) {
    if (prints(byte)) bytes.push_back(text_of(static_cast<char32_t>(byte)));
  }
  for (char32_t other = 256; bytes.size() < 256; ++other) bytes.push_back(text_of(other));

  JsonText out;
  std::int64_t id = 0;
  out.begin_object();
  for (const auto& byte : bytes) out.member(byte, id++);
  for (const auto& byte : bytes) out.member(byte + "</w>", id++);
  auto rest = clip_merges();
  bool first = true;
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\n'), rest.size());
    const auto line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const auto space = line.find(' ');
    if (std::exchange(first, false) || space == std::string_view::npos) continue;  // "#version: 0.2"
    out.member(std::string(line.substr(0, space)) + std::string(line.substr(space + 1)), id++);
  }
  out.member("<|startoftext|>", id).member("<|endoftext|>", id + 1);
  out.end_object();
  return std::move(out).str();
}

}  // namespace gf::pipeline
