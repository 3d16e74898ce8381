#include "pipeline/seam.hpp"

#include "pictures.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <numbers>
#include <random>

using gf::Status;
using gf::pipeline::Image;
using gf::pipeline::seam_score;
using gf::test::painted;
using gf::test::Pixel;

TEST_CASE("golden: a seam by hand") {
  // Columns 0, 10, 30 in red alone: the inside differs by 10 and 20, the edge by 30, over three colours.
  const auto image = painted(3, 1, [](std::uint32_t x, std::uint32_t) {
    constexpr std::uint8_t reds[] = {0, 10, 30};
    return Pixel{reds[x], 5, 5, 255};
  });
  const auto score = seam_score(image).value();
  CHECK(score.x.edge == doctest::Approx(10));
  CHECK(score.x.inner == doctest::Approx(5));
  CHECK(score.x.inner_most == doctest::Approx(20.0 / 3));
  CHECK(score.x.score == doctest::Approx(2));
  CHECK(score.y.score == 1);  // One row.
}

TEST_CASE("a wave that closes has a score about 1, and one that is cut off a far larger one, on its axis alone") {
  const auto wave = [](double periods) {
    return painted(64, 64, [periods](std::uint32_t x, std::uint32_t y) {
      const double across = std::sin(2 * std::numbers::pi * periods * x / 64);
      const double down = std::sin(2 * std::numbers::pi * 3 * y / 64);
      const auto value = static_cast<std::uint8_t>(std::lround(127.5 + 60 * across + 60 * down));
      return Pixel{value, value, value, 255};
    });
  };
  // Of 64 samples of three periods, the step at the edge is the steepest there is: pi / 2 times the mean one.
  const auto closed = seam_score(wave(3)).value();
  CHECK(closed.x.score < 1.6);
  CHECK(closed.x.edge <= closed.x.inner_most + 1e-9);
  CHECK(closed.y.score == doctest::Approx(closed.x.score));
  const auto open = seam_score(wave(3.25)).value();
  CHECK(open.x.score > 3);
  CHECK(open.y.score < 1.6);
}

TEST_CASE("flat images have no seam, a step of rounding is none, and colours under alpha 0 do not count") {
  CHECK(seam_score(painted(5, 4, [](auto, auto) { return Pixel{9, 9, 9, 255}; })).value().x.score == 1);
  const auto rounding = painted(8, 8, [](std::uint32_t x, auto) {
    return Pixel{static_cast<std::uint8_t>(x == 7 ? 101 : 100), 100, 100, 255};
  });
  CHECK(seam_score(rounding).value().x.score == 1);  // A third of a level.
  const auto clear = painted(8, 8, [](std::uint32_t x, std::uint32_t y) {
    return Pixel{static_cast<std::uint8_t>(30 * x), static_cast<std::uint8_t>(30 * y), 0, 0};
  });
  CHECK(seam_score(clear).value().x.edge == 0);
  // Alpha is a channel too.
  const auto alpha = painted(2, 2, [](std::uint32_t x, auto) {
    return Pixel{0, 0, 0, static_cast<std::uint8_t>(x == 0 ? 0 : 255)};
  });
  CHECK(seam_score(alpha).value().x.edge == doctest::Approx(85));
}

TEST_CASE("property: moving a texture around does not change its sum of differences, and a turn swaps the axes") {
  std::mt19937 random(3);
  const auto image = gf::test::random_image(random, 17, 23, true);
  const auto score = seam_score(image).value();
  const auto turned =
      painted(23, 17, [&](std::uint32_t x, std::uint32_t y) { return gf::test::pixel_at(image, y, x); });
  const auto other = seam_score(turned).value();
  CHECK(other.x.score == score.y.score);
  CHECK(other.y.score == score.x.score);
  const auto all = [](const gf::pipeline::Seam& seam, double lines) { return seam.edge + seam.inner * (lines - 1); };
  for (std::uint32_t by = 1; by < 17; ++by) {
    const auto moved =
        painted(17, 23, [&](std::uint32_t x, std::uint32_t y) { return gf::test::pixel_at(image, (x + by) % 17, y); });
    CHECK(all(seam_score(moved).value().x, 17) == doctest::Approx(all(score.x, 17)));
  }
}

TEST_CASE("an image that is not whole is refused") {
  CHECK(seam_score(Image{2, 2, 0, {1, 2, 3}}).error().status == Status::invalid_argument);
}
