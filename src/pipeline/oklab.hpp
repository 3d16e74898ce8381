// OKLab in integers: distances and means of colours that come out the same on every machine, with every compiler.
#pragma once

#include <array>
#include <cstdint>

namespace gf::pipeline {

/// A colour in OKLab (B. Ottosson, "A perceptual color space for image processing", 2020, the matrices of 2021-01-25).
/// Each field in 1/65536: l from 0 (black) to 65536 (white), a and b about -26000 to 26000.
struct Oklab {
  std::int32_t l = 0;
  std::int32_t a = 0;
  std::int32_t b = 0;
  bool operator==(const Oklab&) const = default;
};

/// What 1.0 of OKLab is in an Oklab.
inline constexpr std::int32_t oklab_one = 1 << 16;

/// An sRGB colour, 0xRRGGBB; bits above are not looked at.
Oklab to_oklab(std::uint32_t rgb);

/// The nearest sRGB colour, 0xRRGGBB; what sRGB cannot show is clipped channel by channel.
std::uint32_t to_rgb(const Oklab& colour);

/// The square of the Euclidean distance, in 1/65536 squared.
inline std::int64_t distance_squared(const Oklab& first, const Oklab& second) {
  const std::int64_t l = first.l - second.l, a = first.a - second.a, b = first.b - second.b;
  return l * l + a * a + b * b;
}

}  // namespace gf::pipeline
