// Fuzzes the parser of palette files: what is read is a palette, reads the same again, and an error names its line.
#include "broken.hpp"

#include "pipeline/palette.hpp"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>

namespace {

using gf::fuzz::broken;

void check_palette(std::string_view input) {
  const auto parsed = gf::pipeline::parse_palette(input, "p");
  if (!parsed) {
    const auto& error = parsed.error();
    const auto digit = error.message.size() > 2 ? error.message[2] : '\0';
    if (!error.message.starts_with("p:") || digit < '1' || digit > '9') broken("an error names no line", input);
    if (error.status != gf::Status::syntax_error && error.status != gf::Status::unsupported_format &&
        error.status != gf::Status::payload_too_large) {
      broken("an error of another kind", input);
    }
    return;
  }
  const auto& palette = parsed.value();
  if (!gf::pipeline::check_palette(palette)) broken("what was read is no palette", input);
  if (std::set(palette.begin(), palette.end()).size() != palette.size()) broken("a colour is there twice", input);
  std::string hex, gpl = "GIMP Palette\n";
  for (const auto colour : palette) {
    hex += fmt::format("{:06x}\n", colour);
    gpl += fmt::format("{} {} {}\n", colour >> 16, colour >> 8 & 255, colour & 255);
  }
  for (const auto& text : {hex, gpl}) {
    const auto again = gf::pipeline::parse_palette(text, "p");
    if (!again || again.value() != palette) broken("the palette does not read as itself once it is written", input);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size);
int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  check_palette(std::string_view(reinterpret_cast<const char*>(bytes), size));
  return 0;
}
