// Walks over the pixels of an image: along its border, to neighbours, and colours spread into what is transparent.
#pragma once

#include "pipeline/image.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gf::pipeline {

/// A pixel's colour, 0xRRGGBB. Pixels are counted row by row from the top left.
inline std::uint32_t rgb_at(const Image& image, std::size_t pixel) {
  const auto* p = image.rgba.data() + pixel * 4;
  return std::uint32_t{p[0]} << 16 | std::uint32_t{p[1]} << 8 | p[2];
}

inline std::uint8_t alpha_at(const Image& image, std::size_t pixel) { return image.rgba[pixel * 4 + 3]; }

/// Calls `visit` with each pixel of the border, once.
template <class Visit>
void for_border(const Image& image, Visit&& visit) {
  const std::size_t width = image.width, height = image.height;
  for (std::size_t x = 0; x < width; ++x) visit(x);
  for (std::size_t y = 1; y < height; ++y) {
    visit(y * width);
    if (width > 1) visit(y * width + width - 1);
  }
  if (height > 1) {
    for (std::size_t x = 1; x + 1 < width; ++x) visit((height - 1) * width + x);
  }
}

/// Calls `visit` with the pixels above, left, right and below.
template <class Visit>
void for_neighbours(const Image& image, std::size_t pixel, Visit&& visit) {
  const std::size_t width = image.width;
  const std::size_t x = pixel % width;
  if (pixel >= width) visit(pixel - width);
  if (x > 0) visit(pixel - 1);
  if (x + 1 < width) visit(pixel + 1);
  if (pixel + width < width * image.height) visit(pixel + width);
}

/// Calls `visit` with every pixel at most `radius` columns and rows away, itself too.
template <class Visit>
void for_window(const Image& image, std::size_t pixel, std::size_t radius, Visit&& visit) {
  const std::size_t width = image.width, height = image.height;
  const std::size_t x = pixel % width, y = pixel / width;
  const auto left = x > radius ? x - radius : 0, right = x + radius < width ? x + radius : width - 1;
  const auto top = y > radius ? y - radius : 0, bottom = y + radius < height ? y + radius : height - 1;
  for (auto row = top; row <= bottom; ++row) {
    for (auto column = left; column <= right; ++column) visit(row * width + column);
  }
}

/// Gives the pixels of `clear`, in rising order, the colour of the nearest pixel that is none of them, counted in steps
/// over them, so that filtering and mipmaps of what is transparent there show no rim of an old colour. Alpha stays.
void bleed_colours(Image& image, const std::vector<std::uint32_t>& clear);

}  // namespace gf::pipeline
