#include "pipeline/png.hpp"

#include "base/files.hpp"

#include <doctest/doctest.h>
#include <png.h>

#include <csetjmp>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <unistd.h>

using gf::Status;
using gf::pipeline::Image;
using gf::pipeline::PngOptions;

namespace {

/// What libpng's own reader finds in the bytes.
struct Decoded {
  bool whole = false;
  std::uint32_t width = 0, height = 0;
  int colour_type = -1, depth = 0;
  bool has_time = false, has_srgb = false;
  std::vector<std::string> keys, texts;
  std::vector<int> text_kinds;  // PNG_TEXT_COMPRESSION_NONE or PNG_ITXT_COMPRESSION_NONE.
  std::vector<std::uint8_t> rgba;
};

struct Source {
  const std::vector<std::uint8_t>* bytes;
  std::size_t position;
};

void decode_into(const std::vector<std::uint8_t>& bytes, Decoded* out, std::vector<png_bytep>* rows, Source* source) {
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  source->bytes = &bytes;
  source->position = 0;
  if (setjmp(png_jmpbuf(png)) == 0) {  // NOLINT(cert-err52-cpp): libpng has no other way.
    png_set_read_fn(png, source, [](png_structp reader, png_bytep to, std::size_t count) {
      auto* from = static_cast<Source*>(png_get_io_ptr(reader));
      if (from->bytes->size() - from->position < count) png_error(reader, "the bytes end early");
      std::memcpy(to, from->bytes->data() + from->position, count);
      from->position += count;
    });
    png_read_info(png, info);
    out->width = png_get_image_width(png, info);
    out->height = png_get_image_height(png, info);
    out->colour_type = png_get_color_type(png, info);
    out->depth = png_get_bit_depth(png, info);
    png_set_add_alpha(png, 255, PNG_FILLER_AFTER);
    png_read_update_info(png, info);
    out->rgba.resize(std::size_t{out->width} * out->height * 4);
    for (std::uint32_t y = 0; y < out->height; ++y) rows->push_back(out->rgba.data() + std::size_t{y} * out->width * 4);
    png_read_image(png, rows->data());
    png_read_end(png, info);
    png_textp texts = nullptr;
    const int count = png_get_text(png, info, &texts, nullptr);
    for (int i = 0; i < count; ++i) {
      out->keys.emplace_back(texts[i].key);
      out->texts.emplace_back(texts[i].text);
      out->text_kinds.push_back(texts[i].compression);
    }
    out->has_time = png_get_valid(png, info, PNG_INFO_tIME) != 0;
    out->has_srgb = png_get_valid(png, info, PNG_INFO_sRGB) != 0;
    out->whole = source->position == bytes.size();
  }
  png_destroy_read_struct(&png, &info, nullptr);
}

Decoded decoded(const std::vector<std::uint8_t>& bytes) {
  Decoded out;
  std::vector<png_bytep> rows;
  Source source{};
  decode_into(bytes, &out, &rows, &source);
  return out;
}

Image noise(std::uint32_t width, std::uint32_t height, std::uint32_t seed, bool opaque) {
  std::mt19937 random(seed);
  Image image{width, height, seed, std::vector<std::uint8_t>(std::size_t{width} * height * 4)};
  for (auto& byte : image.rgba) byte = static_cast<std::uint8_t>(random());
  if (opaque) {
    for (std::size_t i = 3; i < image.rgba.size(); i += 4) image.rgba[i] = 255;
  }
  return image;
}

}  // namespace

TEST_CASE("property: what is encoded decodes to the same pixels, RGB when all are opaque and RGBA else") {
  for (std::uint32_t seed = 1; seed <= 24; ++seed) {
    CAPTURE(seed);
    const bool opaque = seed % 2 == 0;
    const auto image = noise(1 + seed * 7 % 40, 1 + seed * 5 % 33, seed, opaque);
    const auto bytes = gf::pipeline::encode_png(image, {.compression = 1 + seed % 9, .parameters = {}});
    REQUIRE(bytes.has_value());
    const auto back = decoded(bytes.value());
    REQUIRE(back.whole);
    CHECK(back.width == image.width);
    CHECK(back.height == image.height);
    CHECK(back.depth == 8);
    CHECK(back.colour_type == (opaque ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_RGB_ALPHA));
    CHECK(back.rgba == image.rgba);
    CHECK(back.has_srgb);
    CHECK_FALSE(back.has_time);
    CHECK(back.texts.empty());
  }
}

TEST_CASE("one pixel that is not opaque makes it RGBA, wherever it is") {
  for (const std::size_t pixel : {std::size_t{0}, std::size_t{17}, std::size_t{63}}) {
    auto image = noise(8, 8, 3, true);
    image.rgba[pixel * 4 + 3] = 254;
    const auto back = decoded(gf::pipeline::encode_png(image).value());
    CHECK(back.colour_type == PNG_COLOR_TYPE_RGB_ALPHA);
    CHECK(back.rgba == image.rgba);
  }
}

TEST_CASE("a text that Latin-1 holds is a tEXt chunk in it, any other an iTXt chunk in UTF-8") {
  struct Row {
    std::string given;
    int kind;
    std::string stored;
  };
  const std::vector<Row> rows = {
      {"a potion\nNegative prompt: blurry\nSteps: 20", PNG_TEXT_COMPRESSION_NONE,
       "a potion\nNegative prompt: blurry\nSteps: 20"},
      {"", PNG_TEXT_COMPRESSION_NONE, ""},
      {"caf\xC3\xA9 \xC3\xBF", PNG_TEXT_COMPRESSION_NONE, "caf\xE9 \xFF"},
      {"\xE8\x8D\xAF\xE6\xB0\xB4", PNG_ITXT_COMPRESSION_NONE, "\xE8\x8D\xAF\xE6\xB0\xB4"},
      {"\xF0\x9F\xA7\xAA potion", PNG_ITXT_COMPRESSION_NONE, "\xF0\x9F\xA7\xAA potion"},
      {"tab\there", PNG_ITXT_COMPRESSION_NONE, "tab\there"},
      {"\xC4\x80", PNG_ITXT_COMPRESSION_NONE, "\xC4\x80"},  // U+0100, one past Latin-1
  };
  for (const auto& row : rows) {
    CAPTURE(row.given);
    const auto bytes = gf::pipeline::encode_png(noise(4, 4, 1, true), {.compression = 0, .parameters = row.given});
    REQUIRE(bytes.has_value());
    const auto back = decoded(bytes.value());
    REQUIRE(back.whole);
    REQUIRE(back.texts.size() == 1);
    CHECK(back.keys[0] == "parameters");
    CHECK(back.texts[0] == row.stored);
    CHECK(back.text_kinds[0] == row.kind);
  }
}

TEST_CASE("a text of several prompts' length is kept whole") {
  const std::string text(200'000, 'x');
  const auto back =
      decoded(gf::pipeline::encode_png(noise(2, 2, 1, true), {.compression = 0, .parameters = text}).value());
  REQUIRE(back.texts.size() == 1);
  CHECK(back.texts[0] == text);
}

TEST_CASE("equal input gives equal bytes, and 0 is the compression 6") {
  const auto image = noise(31, 17, 5, false);
  const PngOptions options{.compression = 6, .parameters = "a potion"};
  const auto first = gf::pipeline::encode_png(image, options).value();
  CHECK(gf::pipeline::encode_png(image, options).value() == first);
  CHECK(gf::pipeline::encode_png(image, {.compression = 0, .parameters = "a potion"}).value() == first);
  CHECK(gf::pipeline::encode_png(image, {.compression = 1, .parameters = "a potion"}).value() != first);
}

TEST_CASE("what cannot be encoded is refused by name") {
  struct Row {
    Image image;
    PngOptions options;
    std::string named;
  };
  const auto good = noise(2, 2, 1, true);
  // Filled one by one: of an initializer list g++ 12 warns that the optionals may be uninitialised.
  std::vector<Row> rows;
  const auto add = [&rows](Image image, std::uint32_t compression, std::optional<std::string> text, std::string named) {
    rows.push_back({std::move(image), {compression, std::move(text)}, std::move(named)});
  };
  add(Image{2, 2, 0, std::vector<std::uint8_t>(15)}, 0, {}, "the image is 2x2");
  add(Image{0, 2, 0, {}}, 0, {}, "the image is 0x2");
  add(good, 10, {}, "compression is 10");
  add(good, 0, "ab\xFF", "parameters is not UTF-8 from byte 2 on");
  add(good, 0, std::string("a\0b", 3), "parameters holds a NUL at byte 1");
  for (const auto& row : rows) {
    CAPTURE(row.named);
    const auto refused = gf::pipeline::encode_png(row.image, row.options);
    REQUIRE(refused.has_error());
    CHECK(refused.error().status == Status::invalid_argument);
    CHECK(refused.error().message.starts_with(row.named));
  }
}

TEST_CASE("a file is written whole, and a folder that is missing leaves nothing behind") {
  const auto folder = std::filesystem::temp_directory_path() / ("gameforge_png_test_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const auto image = noise(9, 9, 4, true);
  const auto path = (folder / "tile.png").string();
  REQUIRE(gf::pipeline::write_png(image, {}, path).has_value());
  const auto text = gf::read_text(path, 1 << 20);
  REQUIRE(text.has_value());
  CHECK(decoded({text.value().begin(), text.value().end()}).rgba == image.rgba);

  const auto refused = gf::pipeline::write_png(image, {}, (folder / "none" / "tile.png").string());
  REQUIRE(refused.has_error());
  CHECK(refused.error().status == Status::not_found);
  CHECK(refused.error().message.find("none/tile.png") != std::string::npos);
  CHECK(std::distance(std::filesystem::directory_iterator(folder), {}) == 1);
  std::filesystem::remove_all(folder);
}

TEST_CASE("an indexed PNG has the palette that is needed, as few bits, and the same pixels") {
  struct Depth {
    std::uint32_t colours;
    int bits;
  };
  for (const auto& [colours, bits] :
       {Depth{1, 1}, Depth{2, 1}, Depth{3, 2}, Depth{4, 2}, Depth{5, 4}, Depth{16, 4}, Depth{17, 8}, Depth{256, 8}}) {
    CAPTURE(colours);
    Image image{19, 17, 0, {}};
    for (std::uint32_t i = 0; i < 19 * 17; ++i) {
      const auto colour = i % colours;
      // Every third is not opaque, one of them not quite transparent.
      const std::uint8_t alpha = colour % 3 != 1 ? 255 : colour == 4 ? 90 : 0;
      for (const std::uint32_t value : {colour, colour * 7, 255 - colour})
        image.rgba.push_back(static_cast<std::uint8_t>(value));
      image.rgba.push_back(alpha);
    }
    PngOptions options;
    options.indexed = true;
    options.parameters = "pixel art";
    const auto bytes = gf::pipeline::encode_png(image, options).value();
    const auto back = gf::pipeline::decode_png(std::as_bytes(std::span(bytes)), "x");
    REQUIRE(back.has_value());
    CHECK(back.value().rgba == image.rgba);
    CHECK(static_cast<int>(bytes[24]) == bits);                    // IHDR's bit depth,
    CHECK(static_cast<int>(bytes[25]) == PNG_COLOR_TYPE_PALETTE);  // and colour type.
    CHECK(gf::pipeline::encode_png(image, options).value() == bytes);
  }
}

TEST_CASE("boundary: a colour more than a palette holds is refused, and so is the same colour in a second alpha") {
  Image image{257, 1, 0, {}};
  for (std::uint32_t i = 0; i < 257; ++i) {
    for (int channel = 0; channel < 3; ++channel) image.rgba.push_back(static_cast<std::uint8_t>(i));
    image.rgba.push_back(static_cast<std::uint8_t>(i < 256 ? 255 : 254));
  }
  PngOptions options;
  options.indexed = true;
  const auto refused = gf::pipeline::encode_png(image, options);
  REQUIRE(!refused);
  CHECK(refused.error().status == Status::invalid_argument);
  CHECK(refused.error().message == "the image has more than 256 colours, which is what an indexed PNG holds");
}

TEST_CASE("the recipe is read back from a PNG as it was written, whichever chunk it is in") {
  const auto image = noise(5, 4, 1, true);
  for (const char* const text : {"a potion\nSteps: 20", "\xC3\xA9tincelle", "\xE6\xB0\xB4", ""}) {
    PngOptions options;
    options.parameters = text;
    const auto bytes = gf::pipeline::encode_png(image, options).value();
    const auto read = gf::pipeline::png_parameters(std::as_bytes(std::span(bytes)), "x");
    REQUIRE(read.has_value());
    CHECK(read.value() == std::string(text));
  }
  const auto plain = gf::pipeline::encode_png(image).value();
  CHECK(gf::pipeline::png_parameters(std::as_bytes(std::span(plain)), "x").value() == std::nullopt);
  CHECK(gf::pipeline::png_parameters({}, "x").error().status == Status::corrupt_file);
}
