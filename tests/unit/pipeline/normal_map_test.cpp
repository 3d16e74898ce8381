#include "pipeline/normal_map.hpp"

#include "pictures.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>

using gf::Status;
using gf::pipeline::HeightChannel;
using gf::pipeline::Image;
using gf::pipeline::normal_map;
using gf::pipeline::NormalMapOptions;
using gf::test::painted;
using gf::test::Pixel;
using gf::test::pixel_at;

namespace {

constexpr Pixel flat = {128, 128, 255, 255};

/// Rises by `step` a pixel to the right.
Image ramp(std::uint32_t width, std::uint32_t height, int step) {
  return painted(width, height, [step](std::uint32_t x, std::uint32_t) {
    const auto value = static_cast<std::uint8_t>(static_cast<int>(x) * step);
    return Pixel{value, value, value, 255};
  });
}

}  // namespace

TEST_CASE("golden: a flat height is (128, 128, 255), and a slope of one is 45 degrees") {
  const auto level = painted(3, 3, [](auto, auto) { return Pixel{77, 77, 77, 255}; });
  for (const bool wrap : {false, true}) {
    const auto map = normal_map(level, {.wrap_x = wrap, .wrap_y = wrap}).value();
    for (std::size_t y = 0; y < 3; ++y) {
      for (std::size_t x = 0; x < 3; ++x) CHECK(pixel_at(map, x, y) == flat);
    }
  }
  // 51 levels a pixel, and 255 are five pixels high: the normal is (-1, 0, 1) / sqrt 2, 128 - 127 * 0.7071 = 38.2.
  const auto map = normal_map(ramp(5, 3, 51), {.strength = 5}).value();
  CHECK(pixel_at(map, 2, 1) == Pixel{38, 128, 218, 255});
  // At the edge the pixel itself stands in for its neighbour: half the slope, (-1, 0, 2) / sqrt 5.
  CHECK(pixel_at(map, 0, 1) == Pixel{71, 128, 242, 255});
}

TEST_CASE("golden: green points up the picture for OpenGL and down it for DirectX") {
  // Higher towards the bottom: the surface leans up.
  const auto slope = painted(3, 5, [](std::uint32_t, std::uint32_t y) {
    const auto value = static_cast<std::uint8_t>(y * 51);
    return Pixel{value, value, value, 255};
  });
  CHECK(pixel_at(normal_map(slope, {.strength = 5}).value(), 1, 2) == Pixel{128, 218, 218, 255});
  CHECK(pixel_at(normal_map(slope, {.strength = 5, .directx = true}).value(), 1, 2) == Pixel{128, 38, 218, 255});
  CHECK(pixel_at(normal_map(slope, {.strength = -5}).value(), 1, 2) == Pixel{128, 38, 218, 255});
}

TEST_CASE("the height is read from the channel that was asked for, and alpha goes along unless it was the height") {
  const auto image = painted(3, 1, [](std::uint32_t x, std::uint32_t) {
    return Pixel{static_cast<std::uint8_t>(x * 100), 0, 50, static_cast<std::uint8_t>(40 + x * 100)};
  });
  const auto red_at = [&](HeightChannel channel) {
    return pixel_at(normal_map(image, {.channel = channel}).value(), 1, 0);
  };
  CHECK(red_at(HeightChannel::red)[0] < 60);
  CHECK(red_at(HeightChannel::green) == Pixel{128, 128, 255, 140});
  CHECK(red_at(HeightChannel::blue) == Pixel{128, 128, 255, 140});
  CHECK(red_at(HeightChannel::alpha) == Pixel{red_at(HeightChannel::red)[0], 128, red_at(HeightChannel::red)[2], 255});
  CHECK(red_at(HeightChannel::luminance)[0] > red_at(HeightChannel::red)[0]);
}

TEST_CASE("property: the map of a tiled image is the tiled map, and every normal has the length one") {
  std::mt19937 random(5);
  for (int round = 0; round < 20; ++round) {
    const auto image = gf::test::random_image(random, 1 + random() % 9, 1 + random() % 9, false);
    const NormalMapOptions options{.channel = static_cast<HeightChannel>(random() % 5),
                                   .wrap_x = true,
                                   .wrap_y = true,
                                   .strength = static_cast<double>(random() % 400) / 10,
                                   .directx = random() % 2 == 0};
    const auto map = normal_map(image, options).value();
    CHECK(normal_map(gf::test::tiled(image), options).value().rgba == gf::test::tiled(map).rgba);
    for (std::size_t i = 0; i < map.rgba.size(); i += 4) {
      double length = 0;
      for (std::size_t c = 0; c < 3; ++c) length += std::pow((map.rgba[i + c] - 128.0) / 127, 2);
      CHECK(std::abs(std::sqrt(length) - 1) < 0.007);  // Half a step of 127, three times, at worst.
      CHECK(map.rgba[i + 2] >= 128);
    }
  }
}

TEST_CASE("wrap on one axis leaves the other's edges as they are") {
  const auto image = ramp(4, 4, 60);
  const auto plain = normal_map(image).value(), across = normal_map(image, {.wrap_x = true}).value(),
             down = normal_map(image, {.wrap_y = true}).value();
  CHECK(pixel_at(across, 0, 1) != pixel_at(plain, 0, 1));
  CHECK(pixel_at(across, 1, 1) == pixel_at(plain, 1, 1));
  CHECK(down.rgba == plain.rgba);
}

TEST_CASE("a strength out of its range is refused, also one that is no number") {
  const auto image = ramp(2, 2, 1);
  for (const double strength :
       {1000.5, -1000.5, std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    const auto made = normal_map(image, {.strength = strength});
    REQUIRE(!made);
    CHECK(made.error().status == Status::invalid_argument);
    CHECK(made.error().message.find("strength is ") == 0);
  }
  CHECK(normal_map(image, {.strength = 0}).value().rgba == painted(2, 2, [](auto, auto) { return flat; }).rgba);
}
