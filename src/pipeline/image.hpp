// An image as every room above the backend passes it on: pixels in host memory, and the seed that made them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gf::pipeline {

/// RGBA8, sRGB, straight alpha, top row first, stride = 4 * width bytes. Immutable once it is shared.
struct Image {
  std::uint32_t width = 0;         ///< Pixels.
  std::uint32_t height = 0;        ///< Pixels.
  std::uint64_t seed = 0;          ///< 0 for an image that no job made.
  std::vector<std::uint8_t> rgba;  ///< width * height * 4 bytes.

  /// Bytes that the size needs; `rgba` has as many in an image that is whole.
  std::size_t byte_count() const { return std::size_t{width} * height * 4; }
};

/// Longest side of an image, pixels: what GPUs of the last decade take as a texture. Keeps byte counts within 1 GiB.
inline constexpr std::uint32_t max_image_side_px = 16384;

}  // namespace gf::pipeline
