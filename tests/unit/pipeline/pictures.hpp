// Pictures that the tests of this room draw.
#pragma once

#include "pipeline/image.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace gf::test {

using Pixel = std::array<std::uint8_t, 4>;

inline Pixel pixel_at(const pipeline::Image& image, std::size_t x, std::size_t y) {
  Pixel pixel{};
  for (std::size_t i = 0; i < 4; ++i) pixel[i] = image.rgba[(y * image.width + x) * 4 + i];
  return pixel;
}

/// A picture whose pixels are `paint(x, y)`.
template <class Paint>
pipeline::Image painted(std::uint32_t width, std::uint32_t height, Paint&& paint) {
  pipeline::Image image{width, height, 0, {}};
  image.rgba.reserve(image.byte_count());
  for (std::uint32_t y = 0; y < height; ++y) {
    for (std::uint32_t x = 0; x < width; ++x) {
      const Pixel pixel = paint(x, y);
      image.rgba.insert(image.rgba.end(), pixel.begin(), pixel.end());
    }
  }
  return image;
}

/// Every channel at random; alpha too, unless it is opaque.
inline pipeline::Image random_image(std::mt19937& random, std::uint32_t width, std::uint32_t height, bool opaque) {
  return painted(width, height, [&](std::uint32_t, std::uint32_t) {
    Pixel pixel{};
    for (auto& value : pixel) value = static_cast<std::uint8_t>(random());
    if (opaque) pixel[3] = 255;
    return pixel;
  });
}

/// `image` twice across and twice down.
inline pipeline::Image tiled(const pipeline::Image& image) {
  return painted(image.width * 2, image.height * 2,
                 [&](std::uint32_t x, std::uint32_t y) { return pixel_at(image, x % image.width, y % image.height); });
}

/// The colours of the opaque pixels, 0xRRGGBB.
inline std::set<std::uint32_t> opaque_colours(const pipeline::Image& image) {
  std::set<std::uint32_t> colours;
  for (std::size_t i = 0; i < image.rgba.size(); i += 4) {
    const auto* p = image.rgba.data() + i;
    if (p[3] == 255) colours.insert(std::uint32_t{p[0]} << 16 | std::uint32_t{p[1]} << 8 | p[2]);
  }
  return colours;
}

}  // namespace gf::test
