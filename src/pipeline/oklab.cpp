#include "pipeline/oklab.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace gf::pipeline {
namespace {

// Linear light and the matrices in 1/2^24; a product of the two in 1/2^48, whose cube root is in 1/2^16, as Oklab.
constexpr int shift = 24;
constexpr std::int64_t unit = std::int64_t{1} << shift;

/// value^(1/5) by Newton's method. Evaluated by the compiler only, which rounds as IEEE 754 says.
constexpr double fifth_root(double value) {
  double root = 1;
  for (int i = 0; i < 40; ++i) root = (4 * root + value / (root * root * root * root)) / 5;
  return root;
}

/// Linear light of an sRGB value from 0 to 1 (IEC 61966-2-1), in 1/2^24.
constexpr std::int64_t linear_of(double encoded) {
  // std::lround is no constexpr, and nothing here is negative.
  if (encoded <= 0.04045)
    return static_cast<std::int64_t>(encoded / 12.92 * unit + 0.5);  // NOLINT(bugprone-incorrect-roundings)
  const double base = (encoded + 0.055) / 1.055;
  const double power = base * base * fifth_root(base * base);  // base^2.4
  return static_cast<std::int64_t>(power * unit + 0.5);        // NOLINT(bugprone-incorrect-roundings)
}

constexpr auto linear = [] {
  std::array<std::int64_t, 256> table{};
  for (std::size_t i = 0; i < 256; ++i) table[i] = linear_of(static_cast<double>(i) / 255);
  return table;
}();

/// thresholds[i] lies half way between i and i + 1 as they are encoded.
constexpr auto thresholds = [] {
  std::array<std::int64_t, 255> table{};
  for (std::size_t i = 0; i < 255; ++i) table[i] = linear_of((static_cast<double>(i) + 0.5) / 255);
  return table;
}();

using Matrix = std::array<std::array<std::int64_t, 3>, 3>;

constexpr Matrix fixed(const std::array<std::array<double, 3>, 3>& given) {
  Matrix matrix{};
  for (std::size_t row = 0; row < 3; ++row) {
    for (std::size_t column = 0; column < 3; ++column) {
      const double value = given[row][column] * unit;
      matrix[row][column] = static_cast<std::int64_t>(value + (value < 0 ? -0.5 : 0.5));
    }
  }
  return matrix;
}

constexpr Matrix rgb_to_lms = fixed({{{0.4122214708, 0.5363325363, 0.0514459929},
                                      {0.2119034982, 0.6806995451, 0.1073969566},
                                      {0.0883024619, 0.2817188376, 0.6299787005}}});
constexpr Matrix root_to_lab = fixed({{{0.2104542553, 0.7936177850, -0.0040720468},
                                       {1.9779984951, -2.4285922050, 0.4505937099},
                                       {0.0259040371, 0.7827717662, -0.8086757660}}});
constexpr Matrix lab_to_root = fixed({{{1, 0.3963377774, 0.2158037573},  //
                                       {1, -0.1055613458, -0.0638541728},
                                       {1, -0.0894841775, -1.2914855480}}});
constexpr Matrix lms_to_rgb = fixed({{{4.0767416621, -3.3077115913, 0.2309699292},
                                      {-1.2684380046, 2.6097574011, -0.3413193965},
                                      {-0.0041960863, -0.7034186147, 1.7076147010}}});

std::int64_t dot(const std::array<std::int64_t, 3>& row, const std::array<std::int64_t, 3>& vector) {
  return row[0] * vector[0] + row[1] * vector[1] + row[2] * vector[2];
}

std::int64_t rounded(std::int64_t value) { return (value + unit / 2) >> shift; }

/// The largest integer whose cube is at most `value`, 0 to 2^49. The estimate may be off; the answer is not.
std::int64_t cube_root(std::int64_t value) {
  auto root = static_cast<std::int64_t>(std::cbrt(static_cast<double>(value)));
  while (root * root * root > value) --root;
  while ((root + 1) * (root + 1) * (root + 1) <= value) ++root;
  return root;
}

}  // namespace

Oklab to_oklab(std::uint32_t rgb) {
  const std::array<std::int64_t, 3> light = {linear[rgb >> 16 & 255], linear[rgb >> 8 & 255], linear[rgb & 255]};
  std::array<std::int64_t, 3> root{};
  for (std::size_t i = 0; i < 3; ++i) root[i] = cube_root(dot(rgb_to_lms[i], light));
  std::array<std::int32_t, 3> lab{};
  for (std::size_t i = 0; i < 3; ++i) lab[i] = static_cast<std::int32_t>(rounded(dot(root_to_lab[i], root)));
  return {lab[0], lab[1], lab[2]};
}

std::uint32_t to_rgb(const Oklab& colour) {
  const std::array<std::int64_t, 3> lab = {colour.l, colour.a, colour.b};
  std::array<std::int64_t, 3> lms{};
  for (std::size_t i = 0; i < 3; ++i) {
    // Twice the largest that sRGB has: cubed and multiplied it stays far within 64 bits.
    const auto root = std::clamp<std::int64_t>(rounded(dot(lab_to_root[i], lab)), -2 * oklab_one, 2 * oklab_one);
    lms[i] = rounded(root * root * root);
  }
  std::uint32_t rgb = 0;
  for (const auto& row : lms_to_rgb) {
    const auto light = rounded(dot(row, lms));
    const auto value = std::upper_bound(thresholds.begin(), thresholds.end(), light) - thresholds.begin();
    rgb = rgb << 8 | static_cast<std::uint32_t>(value);
  }
  return rgb;
}

}  // namespace gf::pipeline
