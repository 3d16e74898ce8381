#include "pipeline/pixel_art.hpp"

#include "pictures.hpp"
#include "pipeline/image_ops.hpp"
#include "pipeline/oklab.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <set>
#include <string>

using gf::Status;
using gf::pipeline::CellColour;
using gf::pipeline::Dither;
using gf::pipeline::Image;
using gf::pipeline::Palette;
using gf::pipeline::PixelArtOptions;
using gf::pipeline::pixelate;
using gf::test::painted;
using gf::test::Pixel;
using gf::test::pixel_at;

namespace {

constexpr Pixel none = {0, 0, 0, 0};

Image grey(std::uint32_t side, std::uint8_t value) {
  return painted(side, side, [value](auto, auto) { return Pixel{value, value, value, 255}; });
}

/// The share of white cells in black and white.
double white_share(const Image& image) {
  double white = 0;
  for (std::size_t i = 0; i < image.rgba.size(); i += 4) white += image.rgba[i] == 255 ? 1 : 0;
  return white / (static_cast<double>(image.rgba.size()) / 4);
}

}  // namespace

TEST_CASE("golden: a cell takes its commonest colour, or its centre's") {
  // Two cells of 3 x 3: letters by hand.
  const char* const rows[] = {"rrbbbb", "rbrbbg", "rrb.gg"};
  const auto image = painted(6, 3, [&](std::uint32_t x, std::uint32_t y) {
    switch (rows[y][x]) {
      case 'r':
        return Pixel{200, 0, 0, 255};
      case 'g':
        return Pixel{0, 200, 0, 255};
      case 'b':
        return Pixel{0, 0, 200, 255};
      default:
        return Pixel{9, 9, 9, 20};
    }
  });
  const auto most = pixelate(image, {.cell_px = 3}).value();
  CHECK(most.width == 2);
  CHECK(most.height == 1);
  CHECK(pixel_at(most, 0, 0) == Pixel{200, 0, 0, 255});
  CHECK(pixel_at(most, 1, 0) == Pixel{0, 0, 200, 255});
  const auto centre = pixelate(image, {.cell_px = 3, .cell_colour = CellColour::centre}).value();
  CHECK(pixel_at(centre, 0, 0) == Pixel{0, 0, 200, 255});
  CHECK(pixel_at(centre, 1, 0) == Pixel{0, 0, 200, 255});
}

TEST_CASE("alpha is there or not: by the centre, or by more than half of the cell") {
  const auto half = painted(2, 2, [](std::uint32_t, std::uint32_t y) {
    return y == 0 ? Pixel{50, 60, 70, 128} : Pixel{1, 2, 3, 127};
  });
  CHECK(pixel_at(pixelate(half, {.cell_px = 2}).value(), 0, 0) == Pixel{50, 60, 70, 255});
  CHECK(pixel_at(pixelate(half, {.cell_px = 2, .alpha_threshold = 129}).value(), 0, 0) == none);
  CHECK(pixel_at(pixelate(half, {.cell_px = 2, .cell_colour = CellColour::centre}).value(), 0, 0) == none);
  const auto three = painted(2, 2, [](std::uint32_t x, std::uint32_t y) {
    return x + y == 0 ? Pixel{50, 60, 70, 255} : Pixel{1, 2, 3, 0};
  });
  CHECK(pixel_at(pixelate(three, {.cell_px = 2}).value(), 0, 0) == none);
}

TEST_CASE("property: pixel art that was enlarged comes back as it was, by either choice, also by the wished size") {
  std::mt19937 random(7);
  for (int round = 0; round < 20; ++round) {
    auto art = gf::test::random_image(random, 1 + random() % 12, 1 + random() % 12, true);
    for (std::size_t i = 0; i < art.rgba.size(); i += 4) {
      if (random() % 4 == 0) std::fill_n(art.rgba.begin() + static_cast<std::ptrdiff_t>(i), 4, std::uint8_t{0});
    }
    const std::uint32_t cell = 1 + random() % 7;
    const auto large = gf::pipeline::upscale_nearest(art, cell).value();
    for (const auto by : {CellColour::majority, CellColour::centre}) {
      if (std::min(large.width, large.height) >= cell) {
        CHECK(pixelate(large, {.cell_px = cell, .cell_colour = by}).value().rgba == art.rgba);
      }
      CHECK(pixelate(large, {.width_px = art.width, .height_px = art.height, .cell_colour = by}).value().rgba ==
            art.rgba);
    }
  }
  // A rest of less than half a cell is shared out; of more it makes one.
  CHECK(pixelate(grey(17, 5), {.cell_px = 4}).value().width == 4);
  CHECK(pixelate(grey(18, 5), {.cell_px = 4}).value().width == 5);
}

TEST_CASE("property: opaque cells have colours of the palette and the others are nothing, equal bytes each time") {
  std::mt19937 random(8);
  for (int round = 0; round < 24; ++round) {
    const auto image = gf::test::random_image(random, 8 + random() % 30, 8 + random() % 30, false);
    PixelArtOptions options;
    options.cell_px = 1 + random() % 4;
    options.cell_colour = static_cast<CellColour>(random() % 2);
    options.dither = static_cast<Dither>(round % 3);
    options.dither_percent = random() % 101;
    if (round % 2 == 0) {
      options.colours = 1 + random() % 20;
    } else {
      for (std::uint32_t i = 0; i <= random() % 20; ++i) options.palette.push_back(random() & 0xFFFFFF);
    }
    const auto made = pixelate(image, options).value();
    CHECK(pixelate(image, options).value().rgba == made.rgba);
    const auto colours = gf::test::opaque_colours(made);
    for (const auto colour : colours) {
      if (!options.palette.empty()) {
        CHECK(std::find(options.palette.begin(), options.palette.end(), colour) != options.palette.end());
      }
    }
    if (options.colours != 0) CHECK(colours.size() <= options.colours);
    for (std::size_t i = 0; i < made.rgba.size(); i += 4) {
      if (made.rgba[i + 3] == 255) continue;
      CHECK(std::all_of(&made.rgba[i], &made.rgba[i] + 4, [](std::uint8_t value) { return value == 0; }));
    }
  }
}

TEST_CASE("without dithering each cell has the nearest colour, by a search of its own") {
  std::mt19937 random(9);
  const auto image = gf::test::random_image(random, 16, 16, true);
  const Palette palette = {0x000000, 0xFFFFFF, 0xD02020, 0x2020D0, 0x20A040};
  const auto made = pixelate(image, {.palette = palette}).value();
  const auto lab_at = [](const Pixel& p) {
    return gf::pipeline::to_oklab(std::uint32_t{p[0]} << 16 | std::uint32_t{p[1]} << 8 | p[2]);
  };
  for (std::size_t y = 0; y < 16; ++y) {
    for (std::size_t x = 0; x < 16; ++x) {
      const auto wanted = lab_at(pixel_at(image, x, y));
      const auto given = gf::pipeline::distance_squared(wanted, lab_at(pixel_at(made, x, y)));
      for (const auto colour : palette) {
        CHECK(given <= gf::pipeline::distance_squared(wanted, gf::pipeline::to_oklab(colour)));
      }
    }
  }
}

TEST_CASE("dithering mixes black and white to the lightness of the grey") {
  const Palette two = {0x000000, 0xFFFFFF};
  for (const std::uint8_t value :
       {std::uint8_t{20}, std::uint8_t{60}, std::uint8_t{99}, std::uint8_t{150}, std::uint8_t{230}}) {
    CAPTURE(value);
    const double lightness =
        static_cast<double>(gf::pipeline::to_oklab(std::uint32_t{value} * 0x010101).l) / gf::pipeline::oklab_one;
    // The pattern has 64 steps; the errors of a finite picture leave at its rim.
    const auto bayer = pixelate(grey(64, value), {.palette = two, .dither = Dither::bayer}).value();
    CHECK(std::abs(white_share(bayer) - lightness) < 1.0 / 64);
    const auto spread = pixelate(grey(64, value), {.palette = two, .dither = Dither::floyd_steinberg}).value();
    CHECK(std::abs(white_share(spread) - lightness) < 0.02);
    const auto hard = pixelate(grey(64, value), {.palette = two}).value();
    CHECK(white_share(hard) == (lightness > 0.5 ? 1 : 0));
    for (const auto dither : {Dither::bayer, Dither::floyd_steinberg}) {
      CHECK(pixelate(grey(64, value), {.palette = two, .dither = dither, .dither_percent = 0}).value().rgba ==
            hard.rgba);
    }
  }
}

TEST_CASE(
    "golden: half grey by the ordered pattern is a checkerboard, and a colour that the palette has stays itself") {
  // 99 is 0.4997 of lightness, half within the step of the pattern: 31 or 32 of 64.
  const auto made = pixelate(grey(8, 100), {.palette = {0x000000, 0xFFFFFF}, .dither = Dither::bayer}).value();
  for (std::size_t y = 0; y < 8; ++y) {
    for (std::size_t x = 0; x < 8; ++x) CHECK((pixel_at(made, x, y)[0] == 255) == ((x + y) % 2 == 1));
  }
  const Palette palette = {0x102030, 0x808080, 0xC04020};
  for (const auto dither : {Dither::none, Dither::bayer, Dither::floyd_steinberg}) {
    const auto same = pixelate(grey(16, 128), {.palette = palette, .dither = dither}).value();
    CHECK(gf::test::opaque_colours(same) == std::set<std::uint32_t>{0x808080});
  }
}

TEST_CASE("a palette that a picture lies far outside of does not let errors pile up") {
  // The left half cannot be reached by two greys; the right half is one of them.
  const auto image = painted(64, 64, [](std::uint32_t x, auto) {
    return x < 32 ? Pixel{255, 255, 255, 255} : Pixel{64, 64, 64, 255};
  });
  const auto made = pixelate(image, {.palette = {0x202020, 0x404040}, .dither = Dither::floyd_steinberg}).value();
  std::size_t off = 0;
  for (std::size_t y = 0; y < 64; ++y) {
    for (std::size_t x = 40; x < 64; ++x) off += pixel_at(made, x, y) == Pixel{64, 64, 64, 255} ? 0 : 1;
  }
  CHECK(off < 64 * 24 / 10);
}

TEST_CASE("a picture without an opaque cell has no colours and needs none") {
  const auto clear = painted(4, 4, [](auto, auto) { return Pixel{9, 9, 9, 0}; });
  for (const auto dither : {Dither::none, Dither::bayer, Dither::floyd_steinberg}) {
    const auto made = pixelate(clear, {.cell_px = 2, .colours = 4, .dither = dither});
    REQUIRE(made.has_value());
    CHECK(made.value().rgba == std::vector<std::uint8_t>(16));
  }
}

TEST_CASE("options that make no sense are refused by name") {
  const auto image = grey(8, 1);
  const auto refused = [&](const PixelArtOptions& options, const std::string& begins) {
    CAPTURE(begins);
    const auto made = pixelate(image, options);
    REQUIRE(!made);
    CHECK(made.error().status == Status::invalid_argument);
    CHECK(made.error().message.find(begins) == 0);
  };
  refused({.cell_px = 0}, "cell_px is 0");
  refused({.cell_px = 9}, "cell_px is 9; it must be 1 to 8");
  refused({.width_px = 4}, "width_px is 4 and height_px is 0");
  refused({.width_px = 9, .height_px = 4}, "width_px and height_px are 9x4");
  refused({.cell_px = 2, .width_px = 4, .height_px = 4}, "cell_px is 2; it cannot be given");
  refused({.palette = {1}, .colours = 3}, "colours is 3; it cannot be given");
  refused({.palette = {0x1000000}}, "palette[0] is ");
  refused({.colours = 257}, "colours is 257");
  refused({.dither = Dither::bayer}, "dither needs");
  refused({.colours = 2, .dither_percent = 101}, "dither_percent is 101");
  refused({.alpha_threshold = 0}, "alpha_threshold is 0");
}
