#include "pipeline/normal_map.hpp"

#include "pipeline/image_ops.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstddef>
#include <vector>

namespace gf::pipeline {
namespace {

constexpr std::int32_t full_height = 255 * 10000;  // Of the weights below.

std::vector<std::int32_t> heights_of(const Image& image, HeightChannel channel) {
  std::vector<std::int32_t> heights;
  heights.reserve(image.rgba.size() / 4);
  for (std::size_t i = 0; i < image.rgba.size(); i += 4) {
    const auto* p = image.rgba.data() + i;
    switch (channel) {
      case HeightChannel::luminance:
        heights.push_back(p[0] * 2126 + p[1] * 7152 + p[2] * 722);
        break;
      case HeightChannel::red:
        heights.push_back(p[0] * 10000);
        break;
      case HeightChannel::green:
        heights.push_back(p[1] * 10000);
        break;
      case HeightChannel::blue:
        heights.push_back(p[2] * 10000);
        break;
      case HeightChannel::alpha:
        heights.push_back(p[3] * 10000);
        break;
    }
  }
  return heights;
}

/// The places before and after `at` on an axis of `count`.
struct Around {
  std::size_t before, after;
};
Around around(std::size_t at, std::size_t count, bool wrap) {
  const auto last = count - 1;
  return {at > 0 ? at - 1 : (wrap ? last : 0), at < last ? at + 1 : (wrap ? 0 : last)};
}

std::uint8_t stored(double component) { return static_cast<std::uint8_t>(128 + std::lround(127 * component)); }

}  // namespace

Result<Image> normal_map(const Image& image, const NormalMapOptions& options) {
  GF_TRYV(check_image(image));
  constexpr double most = 1000;
  if (!(std::abs(options.strength) <= most)) {
    return Error{Status::invalid_argument,
                 fmt::format("strength is {}; it must be {} to {}", options.strength, -most, most),
                 {}};
  }
  const auto heights = heights_of(image, options.channel);
  Image map{.width = image.width, .height = image.height, .seed = image.seed, .rgba = {}};
  map.rgba.resize(map.byte_count());
  const std::size_t width = image.width;
  for (std::size_t y = 0; y < image.height; ++y) {
    const auto rows = around(y, image.height, options.wrap_y);
    const auto* const above = heights.data() + rows.before * width;
    const auto* const here = heights.data() + y * width;
    const auto* const below = heights.data() + rows.after * width;
    for (std::size_t x = 0; x < width; ++x) {
      const auto [left, right] = around(x, width, options.wrap_x);
      const std::int32_t right_up =
          above[right] + 2 * here[right] + below[right] - above[left] - 2 * here[left] - below[left];
      const std::int32_t down_up =
          below[left] + 2 * below[x] + below[right] - above[left] - 2 * above[x] - above[right];
      // The weights make four, and the two sides lie two pixels apart.
      const double scale = options.strength / (8.0 * full_height);
      const double slope_x = right_up * scale;
      const double slope_down = down_up * scale;
      // A surface that rises to the right leans to the left.
      const double length = std::sqrt(slope_x * slope_x + slope_down * slope_down + 1);
      auto* const out = map.rgba.data() + (y * width + x) * 4;
      out[0] = stored(-slope_x / length);
      out[1] = stored((options.directx ? -slope_down : slope_down) / length);
      out[2] = stored(1 / length);
      out[3] = options.channel == HeightChannel::alpha ? 255 : image.rgba[(y * width + x) * 4 + 3];
    }
  }
  return map;
}

}  // namespace gf::pipeline
