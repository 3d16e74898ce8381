#include "pipeline/seam.hpp"

#include "pipeline/image_ops.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace gf::pipeline {
namespace {

/// Premultiplied by alpha, in 1/255 of a level.
std::array<std::int32_t, 4> values_at(const Image& image, std::size_t x, std::size_t y) {
  const auto* p = image.rgba.data() + (y * image.width + x) * 4;
  const std::int32_t alpha = p[3];
  return {p[0] * alpha, p[1] * alpha, p[2] * alpha, 255 * alpha};
}

/// Of two lines, a pair of pixels for each of `length`: the sum of their differences.
template <class At>
std::int64_t difference(std::size_t length, At&& first, At&& second) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < length; ++i) {
    const auto a = first(i), b = second(i);
    for (std::size_t channel = 0; channel < 4; ++channel) sum += std::abs(a[channel] - b[channel]);
  }
  return sum;
}

/// `lines` columns or rows of `length` pixels; `at(line, i)` is a pixel of one.
template <class At>
Seam seam_of(std::size_t lines, std::size_t length, At&& at) {
  const auto line = [&at](std::size_t index) { return [&at, index](std::size_t i) { return at(index, i); }; };
  const auto levels = [length](std::int64_t sum, std::size_t pairs) {
    return static_cast<double>(sum) / (static_cast<double>(pairs) * static_cast<double>(length) * 3 * 255);
  };
  Seam seam;
  if (lines < 2) return seam;
  std::int64_t sum = 0, most = 0;
  for (std::size_t i = 0; i + 1 < lines; ++i) {
    const auto one = difference(length, line(i), line(i + 1));
    sum += one;
    most = std::max(most, one);
  }
  constexpr double least = 0.5;
  seam.edge = levels(difference(length, line(lines - 1), line(0)), 1);
  seam.inner = levels(sum, lines - 1);
  seam.inner_most = levels(most, 1);
  seam.score = std::max(seam.edge, least) / std::max(seam.inner, least);
  return seam;
}

}  // namespace

Result<SeamScore> seam_score(const Image& image) {
  GF_TRYV(check_image(image));
  return SeamScore{
      seam_of(image.width, image.height,
              [&](std::size_t column, std::size_t i) { return values_at(image, column, i); }),
      seam_of(image.height, image.width, [&](std::size_t row, std::size_t i) { return values_at(image, i, row); })};
}

}  // namespace gf::pipeline
