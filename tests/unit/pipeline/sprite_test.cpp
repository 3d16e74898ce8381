#include "pipeline/sprite.hpp"

#include "pictures.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

using gf::Status;
using gf::pipeline::cut_sprite;
using gf::pipeline::Image;
using gf::pipeline::SpriteOptions;
using gf::test::painted;
using gf::test::Pixel;
using gf::test::pixel_at;

namespace {

/// How much of a pixel a disc covers, by 16 x 16 samples.
double coverage(std::uint32_t x, std::uint32_t y, double centre, double radius) {
  int inside = 0;
  for (int i = 0; i < 16; ++i) {
    for (int j = 0; j < 16; ++j) {
      const double dx = x + (i + 0.5) / 16 - centre, dy = y + (j + 0.5) / 16 - centre;
      inside += dx * dx + dy * dy <= radius * radius ? 1 : 0;
    }
  }
  return inside / 256.0;
}

constexpr std::uint32_t side = 64;

/// A disc over a background, blended as painting programs do.
Image disc(const Pixel& subject, const Pixel& background) {
  return painted(side, side, [&](std::uint32_t x, std::uint32_t y) {
    const double share = coverage(x, y, side / 2.0, 20.3);
    Pixel pixel{0, 0, 0, 255};
    for (std::size_t i = 0; i < 3; ++i) {
      pixel[i] = static_cast<std::uint8_t>(std::lround(share * subject[i] + (1 - share) * background[i]));
    }
    return pixel;
  });
}

/// The sprite over a colour.
Image over(const Image& sprite, const Pixel& colour) {
  return painted(sprite.width, sprite.height, [&](std::uint32_t x, std::uint32_t y) {
    const auto p = pixel_at(sprite, x, y);
    Pixel out{0, 0, 0, 255};
    for (std::size_t i = 0; i < 3; ++i) {
      out[i] = static_cast<std::uint8_t>((p[i] * p[3] + colour[i] * (255 - p[3]) + 127) / 255);
    }
    return out;
  });
}

int largest_difference(const Image& a, const Image& b) {
  int largest = 0;
  for (std::size_t i = 0; i < a.rgba.size(); ++i) largest = std::max(largest, std::abs(a.rgba[i] - b.rgba[i]));
  return largest;
}

constexpr Pixel green = {0, 255, 0, 255}, grey = {44, 48, 60, 255}, white = {255, 255, 255, 255},
                black = {0, 0, 0, 255}, magenta = {255, 0, 255, 255}, red = {200, 30, 30, 255},
                orange = {250, 160, 20, 255};

}  // namespace

TEST_CASE("a disc's alpha is its coverage, and composited anywhere it shows no rim of the background") {
  struct Pair {
    Pixel subject, background;
  };
  for (const auto& [subject, background] : {Pair{red, green}, Pair{orange, grey}, Pair{white, black},
                                            Pair{black, white}, Pair{red, white}, Pair{{90, 140, 220, 255}, magenta}}) {
    CAPTURE(subject[0]);
    CAPTURE(background[0]);
    const auto cut = cut_sprite(disc(subject, background)).value();
    REQUIRE(cut.key.has_value());
    CHECK(*cut.key == (std::uint32_t{background[0]} << 16 | std::uint32_t{background[1]} << 8 | background[2]));
    CHECK(cut.border_share == 1000);
    double sum = 0, exact_sum = 0;
    int largest = 0;
    for (std::uint32_t y = 0; y < side; ++y) {
      for (std::uint32_t x = 0; x < side; ++x) {
        const double exact = 255 * coverage(x, y, side / 2.0, 20.3);
        const int alpha = pixel_at(cut.image, x, y)[3];
        largest = std::max(largest, static_cast<int>(std::abs(alpha - exact)));
        sum += alpha;
        exact_sum += exact;
      }
    }
    // Below 8 alpha is taken for noise; else two roundings, over the smallest contrast of the pairs.
    CHECK(largest <= 8);
    CHECK(std::abs(sum / exact_sum - 1) < 0.005);
    for (const auto& other : {black, white, magenta}) {
      const auto wanted = disc(subject, other);
      CHECK(largest_difference(over(cut.image, other), wanted) <= 10);
    }
  }
}

TEST_CASE("without despill the rim keeps the background's colour, and with edge 0 alpha is all or nothing") {
  const auto image = disc(red, green);
  const auto kept = cut_sprite(image, {.despill = false}).value().image;
  const auto clean = cut_sprite(image).value().image;
  int greenest_kept = 0, greenest_clean = 0;
  for (std::size_t i = 0; i < kept.rgba.size(); i += 4) {
    CHECK(kept.rgba[i + 3] == clean.rgba[i + 3]);
    if (kept.rgba[i + 3] != 0) greenest_kept = std::max<int>(greenest_kept, kept.rgba[i + 1]);
    if (clean.rgba[i + 3] != 0) greenest_clean = std::max<int>(greenest_clean, clean.rgba[i + 1]);
  }
  CHECK(greenest_kept > 120);
  CHECK(greenest_clean <= 45);  // 30, and the rounding of a share of 8.
  const auto hard = cut_sprite(image, {.edge_px = 0}).value().image;
  for (std::size_t i = 3; i < hard.rgba.size(); i += 4) CHECK((hard.rgba[i] == 0 || hard.rgba[i] == 255));
}

TEST_CASE("noise on background and subject, as a decoder leaves it, changes alpha little") {
  std::mt19937 random(12);
  auto image = disc(orange, grey);
  for (std::size_t i = 0; i < image.rgba.size(); ++i) {
    if (i % 4 == 3) continue;
    image.rgba[i] = static_cast<std::uint8_t>(std::clamp(image.rgba[i] + static_cast<int>(random() % 9) - 4, 0, 255));
  }
  const auto cut = cut_sprite(image).value().image;
  double off = 0;
  for (std::uint32_t y = 0; y < side; ++y) {
    for (std::uint32_t x = 0; x < side; ++x) {
      const auto exact = 255 * coverage(x, y, side / 2.0, 20.3);
      const auto alpha = pixel_at(cut, x, y)[3];
      off = std::max(off, std::abs(alpha - exact));
      if (exact == 0 && coverage(x - 2, y - 2, side / 2.0, 24) == 0) CHECK(alpha == 0);
    }
  }
  CHECK(off <= 20);
}

TEST_CASE("an outline stays: what is no mixture of background and inside is the subject's") {
  // Black around orange, on grey: darker than both.
  const auto image = painted(24, 24, [](std::uint32_t x, std::uint32_t y) {
    const auto inside = [&](std::uint32_t margin) {
      return x >= margin && y >= margin && x < 24 - margin && y < 24 - margin;
    };
    return inside(7) ? orange : inside(6) ? black : Pixel{120, 120, 130, 255};
  });
  const auto cut = cut_sprite(image).value().image;
  for (std::size_t i = 0; i < 12; ++i) CHECK(pixel_at(cut, 6 + i, 6) == black);
  CHECK(pixel_at(cut, 5, 6)[3] == 0);
  CHECK(pixel_at(cut, 8, 8) == orange);
}

TEST_CASE("background that the subject encloses is kept, or cut out from an area on") {
  const auto ring = painted(20, 20, [](std::uint32_t x, std::uint32_t y) {
    const bool outer = x >= 4 && x < 16 && y >= 4 && y < 16, inner = x >= 8 && x < 12 && y >= 8 && y < 12;
    return outer && !inner ? red : green;
  });
  CHECK(pixel_at(cut_sprite(ring).value().image, 9, 9)[3] == 255);
  CHECK(pixel_at(cut_sprite(ring, {.enclosed_px = 17}).value().image, 9, 9)[3] == 255);
  CHECK(pixel_at(cut_sprite(ring, {.enclosed_px = 16}).value().image, 9, 9)[3] == 0);
  CHECK(pixel_at(cut_sprite(ring, {.enclosed_px = 16}).value().image, 5, 5) == red);
}

TEST_CASE("a border without a dominant colour is refused with the figures, unless the key is given") {
  std::mt19937 random(13);
  auto image = gf::test::random_image(random, 32, 32, true);
  const auto refused = cut_sprite(image);
  REQUIRE(!refused);
  CHECK(refused.error().status == Status::not_found);
  CHECK(refused.error().message.find("the border has no dominant colour: the commonest, #") == 0);
  CHECK(refused.error().message.find(" of its 124 pixels within a tolerance of 50; 50.0% are needed") !=
        std::string::npos);
  CHECK(cut_sprite(image, {.key = 0x00FF00}).has_value());
  // A subject that leaves the picture below leaves the border dominant; how much of it is needed may be told.
  const auto bust =
      painted(20, 20, [](std::uint32_t x, std::uint32_t y) { return x >= 4 && x < 16 && y >= 5 ? red : green; });
  const auto cut = cut_sprite(bust).value();
  CHECK(cut.key == 0x00FF00u);
  CHECK(cut.border_share == (76 - 12) * 1000 / 76);
  CHECK(pixel_at(cut.image, 10, 19) == red);
  CHECK(cut_sprite(bust, {.border_share = 900}).error().status == Status::not_found);
}

TEST_CASE("what is cut already stays as it is") {
  const auto once = cut_sprite(disc(red, green)).value();
  const auto twice = cut_sprite(once.image).value();
  CHECK(!twice.key.has_value());
  CHECK(twice.image.rgba == once.image.rgba);
}

TEST_CASE(
    "property: no pixel deeper than the edge changes, alpha never rises, and the same picture gives the same bytes") {
  std::mt19937 random(14);
  for (int round = 0; round < 30; ++round) {
    const auto width = 1 + random() % 24, height = 1 + random() % 24;
    // Patches of three colours and some noise.
    const auto image = painted(width, height, [&](std::uint32_t x, std::uint32_t y) {
      Pixel pixel = x / 5 % 2 == 0 || y < 2 ? green : (y / 4 % 2 == 0 ? red : white);
      if (random() % 6 == 0) pixel[random() % 4] = static_cast<std::uint8_t>(random());
      return pixel;
    });
    const SpriteOptions options{.key = 0x00FF00,
                                .tolerance = 1 + static_cast<std::uint32_t>(random() % 100),
                                .edge_px = static_cast<std::uint32_t>(random() % 9),
                                .despill = random() % 2 == 0,
                                .enclosed_px = static_cast<std::uint32_t>(random() % 3)};
    const auto cut = cut_sprite(image, options).value();
    CHECK(cut_sprite(image, options).value().image.rgba == cut.image.rgba);
    const auto hard =
        cut_sprite(
            image,
            {.key = options.key, .tolerance = options.tolerance, .edge_px = 0, .enclosed_px = options.enclosed_px})
            .value();
    for (std::uint32_t y = 0; y < height; ++y) {
      for (std::uint32_t x = 0; x < width; ++x) {
        const auto before = pixel_at(image, x, y), after = pixel_at(cut.image, x, y);
        CHECK(after[3] <= before[3]);
        bool near_background = false;
        for (std::uint32_t v = y > options.edge_px ? y - options.edge_px : 0; v < height && v <= y + options.edge_px;
             ++v) {
          for (std::uint32_t u = x > options.edge_px ? x - options.edge_px : 0; u < width && u <= x + options.edge_px;
               ++u) {
            near_background |= pixel_at(hard.image, u, v)[3] == 0;
          }
        }
        if (!near_background) CHECK(after == before);
      }
    }
  }
}

TEST_CASE("options out of their range are refused by name") {
  const auto image = disc(red, green);
  for (const auto& [options, begins] :
       {std::pair{SpriteOptions{.key = 0x1000000}, "key is 16777216"},
        std::pair{SpriteOptions{.tolerance = 0}, "tolerance is 0; it must be 1 to 1000"},
        std::pair{SpriteOptions{.tolerance = 1001}, "tolerance is 1001"},
        std::pair{SpriteOptions{.border_share = 0}, "border_share is 0"},
        std::pair{SpriteOptions{.edge_px = 9}, "edge_px is 9"}}) {
    const auto made = cut_sprite(image, options);
    REQUIRE(!made);
    CHECK(made.error().status == Status::invalid_argument);
    CHECK(made.error().message.find(begins) == 0);
  }
}
