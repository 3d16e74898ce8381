// Normal maps: what a height says of how a surface leans.
#pragma once

#include "base/result.hpp"
#include "pipeline/image.hpp"

#include <cstdint>

namespace gf::pipeline {

/// Where a pixel's height is read; 0 is low, 255 high.
enum class HeightChannel : std::uint32_t {
  luminance = 0,  ///< 0.2126 red + 0.7152 green + 0.0722 blue of the encoded values (Rec. 709): a height is no light.
  red = 1,
  green = 2,
  blue = 3,
  alpha = 4,
};

struct NormalMapOptions {
  HeightChannel channel = HeightChannel::luminance;
  bool wrap_x = false;   ///< The left and the right edge are neighbours; else the edge's own pixel stands in.
  bool wrap_y = false;   ///< Top and bottom likewise.
  double strength = 8;   ///< How many pixels high the step from 0 to 255 is, 0 to 1000; negative turns it inside out.
  bool directx = false;  ///< Green points down the picture (DirectX, Unreal); else up (OpenGL, Unity, Godot).
};

/// A tangent-space normal map: of each pixel the slopes by Sobel's operator over its eight neighbours (the mean of
/// central differences, weights 1, 2, 1), as a unit vector stored as 128 + 127 * component, rounded: flat is (128, 128,
/// 255), and the decoding (value - 128) / 127 gives exactly 0 there. Alpha is the image's, and 255 where it was the
/// height.
///
/// Of a tiled plane of the image the map with wrap is the tiled map. Equal input gives equal bytes: sums are integers,
/// and the rest is one multiplication, division and square root at a time, which IEEE 754 rounds in one way. Errors:
/// those of check_image; invalid_argument for a strength out of its range or not a number.
Result<Image> normal_map(const Image& image, const NormalMapOptions& options = {});

}  // namespace gf::pipeline
