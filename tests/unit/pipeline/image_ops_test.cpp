#include "pipeline/image_ops.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <vector>

using gf::Status;
using gf::pipeline::Image;
using gf::pipeline::KeyOptions;

namespace {

using Pixel = std::array<std::uint8_t, 4>;

constexpr Pixel grey = {44, 48, 60, 255};
constexpr Pixel red = {200, 10, 10, 255};
constexpr Pixel blue = {10, 10, 200, 255};

Pixel pixel_at(const Image& image, std::size_t x, std::size_t y) {
  Pixel pixel{};
  for (std::size_t i = 0; i < 4; ++i) pixel[i] = image.rgba[(y * image.width + x) * 4 + i];
  return pixel;
}

/// A picture drawn with letters: one of `palette` each, rows top first.
Image drawn(const std::vector<std::string>& rows) {
  Image image{static_cast<std::uint32_t>(rows[0].size()), static_cast<std::uint32_t>(rows.size()), 77, {}};
  for (const auto& row : rows) {
    for (const char letter : row) {
      const Pixel pixel = letter == 'r' ? red : letter == 'b' ? blue : letter == 'c' ? Pixel{1, 2, 3, 0} : grey;
      image.rgba.insert(image.rgba.end(), pixel.begin(), pixel.end());
    }
  }
  return image;
}

/// 'r', 'b', '.' by colour where it is opaque, and the same as a capital or ',' where alpha is 0.
std::vector<std::string> letters(const Image& image) {
  std::vector<std::string> rows(image.height);
  for (std::size_t y = 0; y < image.height; ++y) {
    for (std::size_t x = 0; x < image.width; ++x) {
      const auto pixel = pixel_at(image, x, y);
      const bool clear = pixel[3] == 0;
      rows[y] += pixel[0] == 200 ? (clear ? 'R' : 'r') : pixel[2] == 200 ? (clear ? 'B' : 'b') : (clear ? ',' : '.');
    }
  }
  return rows;
}

Image noise(std::uint32_t width, std::uint32_t height, std::uint32_t seed, int colours) {
  std::mt19937 random(seed);
  Image image{width, height, seed, {}};
  for (std::uint32_t i = 0; i < width * height; ++i) {
    const auto value = static_cast<std::uint8_t>(random() % static_cast<unsigned>(colours) * 40);
    for (int c = 0; c < 3; ++c) image.rgba.push_back(value);
    image.rgba.push_back(255);
  }
  return image;
}

}  // namespace

TEST_CASE("an enlarged image has a square of each pixel, and its seed") {
  const auto image = drawn({"r.", "b."});
  const auto larger = gf::pipeline::upscale_nearest(image, 3);
  REQUIRE(larger.has_value());
  CHECK(letters(larger.value()) ==
        std::vector<std::string>{"rrr...", "rrr...", "rrr...", "bbb...", "bbb...", "bbb..."});
  CHECK(larger.value().seed == 77);
  CHECK(gf::pipeline::upscale_nearest(image, 1).value().rgba == image.rgba);
}

TEST_CASE("an enlargement is refused past its factor and past the longest side, by name") {
  const auto image = drawn({"r"});
  CHECK(gf::pipeline::upscale_nearest(image, 64).has_value());
  for (const std::uint32_t factor : {0u, 65u, 0xFFFFFFFFu}) {
    const auto refused = gf::pipeline::upscale_nearest(image, factor);
    REQUIRE(refused.has_error());
    CHECK(refused.error().status == Status::invalid_argument);
    CHECK(refused.error().message.starts_with("factor is"));
  }
  const Image wide{257, 1, 0, std::vector<std::uint8_t>(257 * 4)};
  CHECK(gf::pipeline::upscale_nearest(wide, 63).has_value());  // 16191
  CHECK(gf::pipeline::upscale_nearest(wide, 64).has_error());  // 16448
}

TEST_CASE("the background goes from the border inwards, and takes the colour of the nearest edge") {
  const auto keyed = gf::pipeline::key_background(drawn({
      "........",
      "..rr..b.",
      "..rr..b.",
      "........",
      "........",
  }));
  REQUIRE(keyed.has_value());
  CHECK(letters(keyed.value()) == std::vector<std::string>{
                                      "RRRRRBBB",
                                      "RRrrRBbB",
                                      "RRrrRBbB",
                                      "RRRRRBBB",
                                      "RRRRRBBB",
                                  });
  CHECK(keyed.value().seed == 77);
}

TEST_CASE("what the subject encloses is kept, and a diagonal gap does not let the fill in") {
  const auto keyed = gf::pipeline::key_background(drawn({
      ".......",
      ".rrr...",
      ".r.r...",
      ".rr.r..",
      "..rrr..",
      ".......",
  }));
  REQUIRE(keyed.has_value());
  CHECK(letters(keyed.value()) == std::vector<std::string>{
                                      "RRRRRRR",
                                      "RrrrRRR",
                                      "Rr.rRRR",
                                      "Rrr.rRR",
                                      "RRrrrRR",
                                      "RRRRRRR",
                                  });
}

TEST_CASE("the tolerance counts each channel, up to it and not past it") {
  Image image = drawn({"...", "...", "..."});
  const auto set = [&](std::size_t pixel, int offset) {
    image.rgba[pixel * 4 + 1] = static_cast<std::uint8_t>(48 + offset);
  };
  set(0, 16);
  set(2, -16);
  set(6, 17);
  set(8, -17);
  auto keyed = gf::pipeline::key_background(image);
  REQUIRE(keyed.has_value());
  CHECK(pixel_at(keyed.value(), 0, 0)[3] == 0);
  CHECK(pixel_at(keyed.value(), 2, 0)[3] == 0);
  CHECK(pixel_at(keyed.value(), 0, 2)[3] == 255);
  CHECK(pixel_at(keyed.value(), 2, 2)[3] == 255);
  CHECK(pixel_at(keyed.value(), 1, 1)[3] == 0);

  keyed = gf::pipeline::key_background(image, KeyOptions{.use_border = true, .tolerance = 0});
  CHECK(pixel_at(keyed.value(), 0, 0)[3] == 255);
  CHECK(pixel_at(keyed.value(), 1, 1)[3] == 0);
}

TEST_CASE("a named colour is keyed whatever the border has, and none of it changes nothing") {
  const auto image = drawn({"rrr", "r..", "rrr"});
  auto keyed = gf::pipeline::key_background(
      image, KeyOptions{.use_border = false, .red = 44, .green = 48, .blue = 60, .tolerance = 0});
  REQUIRE(keyed.has_value());
  CHECK(letters(keyed.value()) == std::vector<std::string>{"rrr", "rRR", "rrr"});
  keyed = gf::pipeline::key_background(
      image, KeyOptions{.use_border = false, .red = 1, .green = 2, .blue = 3, .tolerance = 0});
  CHECK(keyed.value().rgba == image.rgba);
}

TEST_CASE("an image of background alone becomes transparent, of one pixel too") {
  for (const auto& rows : {std::vector<std::string>{"."}, {"...."}, {".", "."}, {"...", "...", "..."}}) {
    const auto keyed = gf::pipeline::key_background(drawn(rows));
    REQUIRE(keyed.has_value());
    for (std::size_t i = 3; i < keyed.value().rgba.size(); i += 4) CHECK(keyed.value().rgba[i] == 0);
  }
}

TEST_CASE("of equally common colours of the border the darkest is keyed") {
  const auto keyed = gf::pipeline::key_background(drawn({"rb", "br"}), KeyOptions{.use_border = true, .tolerance = 0});
  CHECK(letters(keyed.value()) == std::vector<std::string>{"rR", "Rr"});
}

TEST_CASE("keying twice is keying once, though the background has taken the subject's colour") {
  const auto once = gf::pipeline::key_background(drawn({"....", ".rr.", ".rr.", "...."}));
  const auto twice = gf::pipeline::key_background(once.value());
  REQUIRE(twice.has_value());
  CHECK(twice.value().rgba == once.value().rgba);
  CHECK(letters(twice.value())[1] == "RrrR");
}

TEST_CASE("the fill goes through what is transparent already, and its colours are not the border's") {
  const auto ring = drawn({"ccccc", "c...c", "c.r.c", "c...c", "ccccc"});
  const auto named =
      gf::pipeline::key_background(ring, KeyOptions{.use_border = false, .red = 44, .green = 48, .blue = 60});
  CHECK(letters(named.value()) == std::vector<std::string>{"RRRRR", "RRRRR", "RRrRR", "RRRRR", "RRRRR"});
  // Nothing visible at the border: there is no colour to key, and what is clear takes that of the edge.
  const auto border = gf::pipeline::key_background(ring);
  CHECK(letters(border.value()) == std::vector<std::string>{",,,,,", ",...,", ",.r.,", ",...,", ",,,,,"});
  const auto half = gf::pipeline::key_background(drawn({"ccc", "ccc", "...", ".r."}), KeyOptions{.tolerance = 0});
  CHECK(letters(half.value()) == std::vector<std::string>{"RRR", "RRR", "RRR", "RrR"});
}

TEST_CASE("property: exactly what a walk from outside reaches is cleared, and it shows only colours that were kept") {
  for (std::uint32_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    const auto image = noise(3 + seed % 13, 2 + seed % 11, seed, 3);
    const KeyOptions options{.use_border = false, .red = 0, .green = 0, .blue = 0, .tolerance = 10};
    const auto keyed = gf::pipeline::key_background(image, options);
    REQUIRE(keyed.has_value());

    // An independent model: sweeps over a framed copy until nothing changes.
    const int width = static_cast<int>(image.width), height = static_cast<int>(image.height);
    std::vector<std::vector<bool>> outside(static_cast<std::size_t>(height + 2),
                                           std::vector<bool>(static_cast<std::size_t>(width + 2), false));
    const auto at = [&](int x, int y) {
      return outside[static_cast<std::size_t>(y + 1)][static_cast<std::size_t>(x + 1)];
    };
    for (int x = -1; x <= width; ++x)
      outside[0][static_cast<std::size_t>(x + 1)] = outside.back()[static_cast<std::size_t>(x + 1)] = true;
    for (auto& row : outside) row.front() = row.back() = true;
    for (bool changed = true; changed;) {
      changed = false;
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
          const bool open = image.rgba[static_cast<std::size_t>(y * width + x) * 4] <= 10;
          if (open && !at(x, y) && (at(x - 1, y) || at(x + 1, y) || at(x, y - 1) || at(x, y + 1))) {
            outside[static_cast<std::size_t>(y + 1)][static_cast<std::size_t>(x + 1)] = changed = true;
          }
        }
      }
    }
    std::set<std::uint8_t> kept;
    for (int y = 0; y < height; ++y) {
      for (int x = 0; x < width; ++x) {
        const auto pixel = pixel_at(keyed.value(), static_cast<std::size_t>(x), static_cast<std::size_t>(y));
        REQUIRE((pixel[3] == 0) == at(x, y));
        if (pixel[3] != 0) kept.insert(pixel[0]);
      }
    }
    if (kept.empty()) continue;
    for (std::size_t i = 0; i < keyed.value().rgba.size(); i += 4) REQUIRE(kept.contains(keyed.value().rgba[i]));
  }
}

TEST_CASE("a grid puts images row by row into cells of the largest, with the background between") {
  const auto a = drawn({"r"}), b = drawn({"bb", "bb"}), c = drawn({"r", "r", "r"});
  const std::array<const Image*, 3> images = {&a, &b, &c};
  const auto sheet = gf::pipeline::grid(images, 2, 1, 0x2C303C80);
  REQUIRE(sheet.has_value());
  CHECK(letters(sheet.value()) == std::vector<std::string>{
                                      ".......",
                                      ".r..bb.",
                                      "....bb.",
                                      ".......",
                                      ".......",
                                      ".r.....",
                                      ".r.....",
                                      ".r.....",
                                      ".......",
                                  });
  CHECK(pixel_at(sheet.value(), 0, 0) == Pixel{0x2C, 0x30, 0x3C, 0x80});
  CHECK(pixel_at(sheet.value(), 1, 1) == red);
  CHECK(sheet.value().seed == 0);
}

TEST_CASE("a grid refuses what it cannot lay out, by name") {
  const auto a = drawn({"r"});
  const std::vector<const Image*> one = {&a};
  const std::vector<const Image*> none;
  const std::vector<const Image*> many(4097, &a);
  struct Row {
    const std::vector<const Image*>& images;
    std::uint32_t columns, gap_px;
    std::string named;
  };
  const std::vector<Row> rows = {
      {none, 1, 0, "count is 0"},  {many, 1, 0, "count is 4097"},    {one, 0, 0, "columns is 0"},
      {one, 2, 0, "columns is 2"}, {one, 1, 1025, "gap_px is 1025"},
  };
  for (const auto& row : rows) {
    CAPTURE(row.named);
    const auto refused = gf::pipeline::grid(row.images, row.columns, row.gap_px, 0);
    REQUIRE(refused.has_error());
    CHECK(refused.error().status == Status::invalid_argument);
    CHECK(refused.error().message.starts_with(row.named));
  }
  const std::vector<const Image*> tall(17, &a);
  const auto refused = gf::pipeline::grid(tall, 1, 1024, 0);  // 17 * 1025 + 1024
  REQUIRE(refused.has_error());
  CHECK(refused.error().message.find("18449") != std::string::npos);
}

TEST_CASE("an image that is not whole is refused by every function") {
  for (const Image& image :
       {Image{0, 1, 0, {}}, Image{1, 0, 0, {}}, Image{16385, 1, 0, std::vector<std::uint8_t>(16385 * 4)},
        Image{2, 2, 0, std::vector<std::uint8_t>(15)}, Image{2, 2, 0, std::vector<std::uint8_t>(17)}}) {
    CHECK(gf::pipeline::check_image(image).has_error());
    CHECK(gf::pipeline::upscale_nearest(image, 1).has_error());
    CHECK(gf::pipeline::key_background(image).has_error());
    const std::array<const Image*, 1> images = {&image};
    CHECK(gf::pipeline::grid(images, 1, 0, 0).has_error());
  }
}
