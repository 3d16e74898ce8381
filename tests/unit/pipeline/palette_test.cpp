#include "pipeline/palette.hpp"

#include "pictures.hpp"
#include "pipeline/oklab.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

using gf::Status;
using gf::pipeline::find_palette;
using gf::pipeline::Image;
using gf::pipeline::Palette;
using gf::pipeline::parse_palette;
using gf::test::painted;
using gf::test::Pixel;

namespace {

gf::Result<Palette> found_in(const Image& image, std::uint32_t colours) {
  const Image* const one = &image;
  return find_palette({&one, 1}, colours);
}

/// The sum over pixels of the squared distance to the nearest colour.
double error_of(const Image& image, const Palette& palette) {
  double sum = 0;
  for (std::size_t i = 0; i < image.rgba.size(); i += 4) {
    const auto lab = gf::pipeline::to_oklab(std::uint32_t{image.rgba[i]} << 16 | std::uint32_t{image.rgba[i + 1]} << 8 |
                                            image.rgba[i + 2]);
    std::int64_t least = INT64_MAX;
    for (const auto colour : palette) {
      least = std::min(least, gf::pipeline::distance_squared(lab, gf::pipeline::to_oklab(colour)));
    }
    sum += static_cast<double>(least);
  }
  return sum;
}

}  // namespace

TEST_CASE("golden: files as GIMP, Aseprite and Lospec write them") {
  const auto gimp = parse_palette(
      "GIMP Palette\nName: Two of them\nColumns: 2\n#\n  0   0   0\tBlack\n255 240  31\tA yellow, 12\n", "x.gpl");
  CHECK(gimp.value() == Palette{0x000000, 0xFFF01F});
  const auto aseprite =
      parse_palette("GIMP Palette\r\nChannels: RGBA\r\n#\r\n0 0 0 0 Transparent\r\n1 2 3 255 Untitled\r\n", "x.gpl");
  CHECK(aseprite.value() == Palette{0x010203});
  CHECK(parse_palette("1a1c2c\n5d275d\nB13E53\n", "x.hex").value() == Palette{0x1A1C2C, 0x5D275D, 0xB13E53});
  CHECK(parse_palette("\xEF\xBB\xBF; paint.net\r\n\r\n#ff0000\r\n  00ff00  ", "x").value() ==
        Palette{0xFF0000, 0x00FF00});
  CHECK(parse_palette("ff0000\n00ff00\nFF0000\n", "x").value() == Palette{0xFF0000, 0x00FF00});
  CHECK(parse_palette("GIMP Palette\n9 8 7", "x").value() == Palette{0x090807});
}

TEST_CASE("what is wrong with a file is told with its line") {
  struct Wrong {
    const char* text;
    Status status;
    const char* message;
  };
  for (const auto& wrong : {
           Wrong{"", Status::syntax_error, "p:1: the file ends without a colour"},
           Wrong{"\n\n", Status::syntax_error, "p:3: the file ends without a colour"},
           Wrong{"ff0000\nff00\n", Status::syntax_error,
                 "p:2: \"ff00\" is no colour; it must be six hexadecimal digits"},
           Wrong{"ff0000\n00ff00ff\n", Status::syntax_error, "p:2: "},
           Wrong{"ff000g", Status::syntax_error, "p:1: "},
           Wrong{"##ff0000", Status::syntax_error, "p:1: "},
           Wrong{"GIMP palette\n0 0 0\n", Status::syntax_error, "p:1: \"GIMP palette\" is no colour"},
           Wrong{"GIMP Palette\n0 0\n", Status::syntax_error,
                 "p:2: \"0 0\" is no colour; it must begin with 3 numbers"},
           Wrong{"GIMP Palette\n0 0 256\n", Status::syntax_error, "p:2: "},
           Wrong{"GIMP Palette\n0 -1 0\n", Status::syntax_error, "p:2: "},
           Wrong{"GIMP Palette\n0 0 0x\n", Status::syntax_error, "p:2: "},
           Wrong{"GIMP Palette\n1 1 1\nName: late\n", Status::syntax_error, "p:3: "},
           Wrong{"GIMP Palette\nChannels: CMYK\n", Status::syntax_error, "p:2: channels \"CMYK\" are not known"},
           Wrong{"GIMP Palette\nChannels: RGBA\n0 0 0\n", Status::syntax_error, "p:3: "},
           Wrong{"GIMP Palette\nChannels: RGBA\n0 0 0 128\n", Status::unsupported_format, "p:3: alpha is 128"},
           Wrong{"GIMP Palette\nChannels: RGBA\n0 0 0 0\n", Status::syntax_error, "p:4: the file ends without"},
       }) {
    CAPTURE(wrong.text);
    const auto parsed = parse_palette(wrong.text, "p");
    REQUIRE(!parsed);
    CHECK(parsed.error().status == wrong.status);
    CHECK(parsed.error().message.find(wrong.message) == 0);
  }
}

TEST_CASE("boundary: 256 colours are read and 257 are not, and a file of a megabyte at most") {
  std::string text;
  for (int i = 0; i < 256; ++i)
    text += "0000" + std::string(1, "0123456789abcdef"[i / 16]) + "0123456789abcdef"[i % 16] + "\n";
  CHECK(parse_palette(text, "p").value().size() == 256);
  const auto more = parse_palette(text + "0000ff\n123456\n", "p");  // The first of the two is there already.
  REQUIRE(!more);
  CHECK(more.error().status == Status::payload_too_large);
  CHECK(more.error().message.find("p:258: ") == 0);
  CHECK(parse_palette("ff0000" + std::string((1 << 20) - 6, '\n'), "p").has_value());
  CHECK(parse_palette("ff0000" + std::string((1 << 20) - 5, '\n'), "p").error().status == Status::payload_too_large);
}

TEST_CASE("pictures with few colours give exactly theirs, dark ones first, of what is opaque") {
  const auto image = painted(4, 1, [](std::uint32_t x, std::uint32_t) {
    constexpr Pixel pixels[] = {{255, 255, 255, 255}, {10, 0, 0, 128}, {0, 200, 0, 127}, {0, 0, 255, 255}};
    return pixels[x];
  });
  CHECK(found_in(image, 3).value() == Palette{0x0A0000, 0x0000FF, 0xFFFFFF});
  CHECK(found_in(image, 256).value().size() == 3);
  // Several images share a palette.
  const auto other = painted(1, 1, [](auto, auto) { return Pixel{0, 128, 0, 255}; });
  const Image* const both[] = {&image, &other};
  CHECK(find_palette(both, 4).value() == Palette{0x0A0000, 0x0000FF, 0x008000, 0xFFFFFF});
}

TEST_CASE("two clouds of colour give their two middles") {
  std::mt19937 random(1);
  const auto image = painted(40, 40, [&](std::uint32_t x, std::uint32_t) {
    const auto off = [&] { return static_cast<std::uint8_t>(random() % 21); };
    return x < 10 ? Pixel{static_cast<std::uint8_t>(30 + off()), 40, static_cast<std::uint8_t>(150 + off()), 255}
                  : Pixel{200, static_cast<std::uint8_t>(180 + off()), off(), 255};
  });
  const auto palette = found_in(image, 2).value();
  REQUIRE(palette.size() == 2);
  const auto near = [](std::uint32_t colour, int red, int green, int blue) {
    return std::abs(static_cast<int>(colour >> 16) - red) < 6 &&
           std::abs(static_cast<int>(colour >> 8 & 255) - green) < 6 &&
           std::abs(static_cast<int>(colour & 255) - blue) < 6;
  };
  CHECK(near(palette[0], 40, 40, 160));
  CHECK(near(palette[1], 200, 190, 10));
}

TEST_CASE("property: more colours are never much worse, one is the mean, and the order of pixels does not matter") {
  std::mt19937 random(2);
  auto image = gf::test::random_image(random, 48, 48, true);
  double last = error_of(image, found_in(image, 1).value());
  for (const std::uint32_t colours : {2u, 4u, 8u, 16u, 64u, 256u}) {
    const auto palette = found_in(image, colours).value();
    CHECK(palette.size() <= colours);
    CHECK(palette.size() > colours / 2);
    const auto error = error_of(image, palette);
    CHECK(error < 0.8 * last);
    last = error;
    // The same pixels, elsewhere.
    Image moved = image;
    std::vector<std::uint32_t> order(48 * 48);
    for (std::uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    std::shuffle(order.begin(), order.end(), random);
    for (std::size_t i = 0; i < order.size(); ++i) {
      std::copy_n(image.rgba.begin() + order[i] * 4, 4, moved.rgba.begin() + static_cast<std::ptrdiff_t>(i * 4));
    }
    CHECK(found_in(moved, colours).value() == palette);
  }
}

TEST_CASE("pictures of more colours than are counted one by one are gathered first") {
  std::mt19937 random(4);
  const auto image = gf::test::random_image(random, 256, 256, true);  // About 65000 different ones.
  const auto palette = found_in(image, 16).value();
  CHECK(palette.size() == 16);
  CHECK(found_in(image, 16).value() == palette);
  // Uniform colours are as hard as it gets; a grid of 2 x 2 x 4 of the cube, cut by hand, is the measure.
  Palette by_hand;
  for (const std::uint32_t red : {64u, 191u}) {
    for (const std::uint32_t blue : {64u, 191u}) {
      for (const std::uint32_t green : {32u, 96u, 159u, 223u}) by_hand.push_back(red << 16 | green << 8 | blue);
    }
  }
  CHECK(error_of(image, palette) < error_of(image, by_hand));
}

TEST_CASE("a palette of nothing is refused by its reason") {
  const auto clear = painted(2, 2, [](auto, auto) { return Pixel{1, 2, 3, 127}; });
  CHECK(found_in(clear, 4).error().status == Status::not_found);
  CHECK(found_in(clear, 0).error().message == "colours is 0; it must be 1 to 256");
  CHECK(found_in(clear, 257).error().status == Status::invalid_argument);
  CHECK(find_palette({}, 4).error().status == Status::invalid_argument);
  CHECK(gf::pipeline::check_palette(Palette{0, 0x1000000}).error().message ==
        "palette[1] is 0x1000000; it must be at most 0xffffff");
  CHECK(!gf::pipeline::check_palette({}));
  CHECK(!gf::pipeline::check_palette(Palette(257)));
}
