#include "pipeline/oklab.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>

using gf::pipeline::Oklab;
using gf::pipeline::oklab_one;
using gf::pipeline::to_oklab;
using gf::pipeline::to_rgb;

namespace {

double scaled(std::int32_t value) { return static_cast<double>(value) / oklab_one; }

}  // namespace

TEST_CASE("golden: the corners of sRGB lie where CSS Color 4's sample code puts them") {
  // W3C, css-color-4, conversions.js (whose matrices have more digits), rounded to four places.
  struct Corner {
    std::uint32_t rgb;
    double l, a, b;
  };
  constexpr double tolerance = 0.0003;  // The two sets of matrices differ by up to 0.0001; two roundings in 1/65536.
  for (const auto& corner :
       {Corner{0xFFFFFF, 1, 0, 0}, Corner{0xFF0000, 0.6280, 0.2249, 0.1258}, Corner{0x00FF00, 0.8664, -0.2339, 0.1795},
        Corner{0x0000FF, 0.4520, -0.0325, -0.3115}, Corner{0x808080, 0.5999, 0, 0}, Corner{0, 0, 0, 0}}) {
    CAPTURE(corner.rgb);
    const auto lab = to_oklab(corner.rgb);
    CHECK(std::abs(scaled(lab.l) - corner.l) < tolerance);
    CHECK(std::abs(scaled(lab.a) - corner.a) < tolerance);
    CHECK(std::abs(scaled(lab.b) - corner.b) < tolerance);
  }
}

TEST_CASE("property: sRGB goes to OKLab and comes back as itself, but for a dark channel beside bright ones") {
  // Each red with greens and blues in steps that are prime to 256, so that all values occur.
  std::uint64_t all = 0, off = 0;
  for (std::uint32_t red = 0; red < 256; ++red) {
    for (std::uint32_t green = red % 5; green < 256; green += 5) {
      for (std::uint32_t blue = green % 7; blue < 256; blue += 7) {
        const auto rgb = red << 16 | green << 8 | blue, back = to_rgb(to_oklab(rgb));
        ++all;
        if (back == rgb) continue;
        ++off;
        for (const int shift : {0, 8, 16}) {
          const auto before = static_cast<int>(rgb >> shift & 255), after = static_cast<int>(back >> shift & 255);
          if (before != after) CHECK((std::abs(before - after) <= 2 && before < 16));
        }
      }
    }
  }
  CHECK(all > 470'000);
  CHECK(off < all / 1000);
}

TEST_CASE("boundary: what sRGB cannot show is clipped, however far away it is") {
  CHECK(to_rgb({oklab_one * 2, 0, 0}) == 0xFFFFFF);
  CHECK(to_rgb({-oklab_one, 0, 0}) == 0);
  for (const std::int32_t far : {INT32_MIN / 2, INT32_MAX / 2}) CHECK(to_rgb({far, far, far}) <= 0xFFFFFF);
  CHECK(gf::pipeline::distance_squared({0, 0, 0}, {oklab_one, 0, 0}) == std::int64_t{oklab_one} * oklab_one);
}
