#include "pipeline/pixel_art.hpp"

#include "pipeline/flood.hpp"
#include "pipeline/image_ops.hpp"
#include "pipeline/oklab.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace gf::pipeline {
namespace {

Error invalid(std::string message) { return {Status::invalid_argument, std::move(message), {}}; }

void put(Image& image, std::size_t pixel, std::uint32_t rgb) {
  auto* p = image.rgba.data() + pixel * 4;
  p[0] = static_cast<std::uint8_t>(rgb >> 16);
  p[1] = static_cast<std::uint8_t>(rgb >> 8 & 255);
  p[2] = static_cast<std::uint8_t>(rgb & 255);
  p[3] = 255;
}

bool is_opaque(const Image& image, std::size_t pixel) { return alpha_at(image, pixel) != 0; }

/// The pixels that a cell covers, [left, right) and [top, bottom): at least one each way.
struct Cell {
  std::size_t left, right, top, bottom;
};

/// Counts of one cell's colours by the upper four bits of each channel. Cleared where it was written, since a cell has
/// far fewer pixels than there are bins.
class Majority {
 public:
  Majority() : bins_(4096) {}

  /// The cell's colour into `out` at `to`, which stays RGBA 0 where most of the cell is transparent.
  void take(const Image& image, const Cell& cell, std::uint8_t threshold, Image& out, std::size_t to) {
    std::size_t clear = 0;
    for (std::size_t y = cell.top; y < cell.bottom; ++y) {
      for (std::size_t x = cell.left; x < cell.right; ++x) {
        const auto pixel = y * image.width + x;
        const auto* p = image.rgba.data() + pixel * 4;
        if (p[3] < threshold) {
          ++clear;
          continue;
        }
        const auto key = static_cast<std::uint16_t>(p[0] >> 4 << 8 | p[1] >> 4 << 4 | p[2] >> 4);
        auto& bin = bins_[key];
        if (bin.pixels == 0) used_.push_back(key);
        ++bin.pixels;
        for (std::size_t i = 0; i < 3; ++i) bin.sums[i] += p[i];
      }
    }
    const auto all = (cell.right - cell.left) * (cell.bottom - cell.top);
    std::uint16_t best = 0;
    std::uint64_t most = 0;
    for (const auto key : used_) {
      const auto pixels = bins_[key].pixels;
      if (pixels > most || (pixels == most && key < best)) {
        most = pixels;
        best = key;
      }
    }
    if (2 * clear <= all && most != 0) {
      const auto mean = [&](std::size_t i) {
        return static_cast<std::uint32_t>((bins_[best].sums[i] + most / 2) / most);
      };
      put(out, to, mean(0) << 16 | mean(1) << 8 | mean(2));
    }
    for (const auto key : used_) bins_[key] = {};
    used_.clear();
  }

 private:
  struct Bin {
    std::uint64_t pixels = 0;
    std::array<std::uint64_t, 3> sums{};
  };
  std::vector<Bin> bins_;
  std::vector<std::uint16_t> used_;
};

/// The picture in cells, each of alpha 255 or all 0.
Image in_cells(const Image& image, std::uint32_t width, std::uint32_t height, const PixelArtOptions& options) {
  Image cells{.width = width, .height = height, .seed = image.seed, .rgba = {}};
  cells.rgba.resize(cells.byte_count());
  const auto edge = [](std::uint64_t cell, std::uint64_t pixels, std::uint64_t count) { return cell * pixels / count; };
  Majority majority;
  for (std::size_t y = 0; y < height; ++y) {
    for (std::size_t x = 0; x < width; ++x) {
      const Cell cell = {edge(x, image.width, width), edge(x + 1, image.width, width), edge(y, image.height, height),
                         edge(y + 1, image.height, height)};
      const auto to = y * width + x;
      if (options.cell_colour == CellColour::majority) {
        majority.take(image, cell, options.alpha_threshold, cells, to);
      } else {
        const auto from = (cell.top + cell.bottom) / 2 * image.width + (cell.left + cell.right) / 2;
        if (alpha_at(image, from) >= options.alpha_threshold) put(cells, to, rgb_at(image, from));
      }
    }
  }
  return cells;
}

/// A palette with its places in OKLab, and the search in it.
class Colours {
 public:
  explicit Colours(const Palette& palette) : rgb_(palette) {
    for (const auto colour : palette) lab_.push_back(to_oklab(colour));
  }

  std::size_t nearest(const Oklab& wanted) const {
    std::size_t best = 0;
    std::int64_t least = distance_squared(wanted, lab_[0]);
    for (std::size_t i = 1; i < lab_.size(); ++i) {
      const auto distance = distance_squared(wanted, lab_[i]);
      if (distance < least) {
        least = distance;
        best = i;
      }
    }
    return best;
  }
  std::uint32_t rgb(std::size_t i) const { return rgb_[i]; }
  const Oklab& lab(std::size_t i) const { return lab_[i]; }
  std::size_t size() const { return lab_.size(); }

 private:
  const Palette& rgb_;
  std::vector<Oklab> lab_;
};

void take_nearest(Image& cells, const Colours& colours) {
  for (std::size_t i = 0; i < std::size_t{cells.width} * cells.height; ++i) {
    if (is_opaque(cells, i)) put(cells, i, colours.rgb(colours.nearest(to_oklab(rgb_at(cells, i)))));
  }
}

/// B. E. Bayer, "An optimum method for two-level rendition of continuous-tone pictures", 1973: the order in which the
/// cells of 8 x 8 take the second colour, 0 to 63. The bits of x ^ y and y, the lowest first, in turn.
constexpr std::uint32_t bayer_order(std::size_t x, std::size_t y) {
  std::uint32_t order = 0;
  for (int bit = 0; bit < 3; ++bit) {
    order = order << 2 | static_cast<std::uint32_t>(((x ^ y) >> bit & 1) << 1 | (y >> bit & 1));
  }
  return order;
}
static_assert(bayer_order(0, 0) == 0 && bayer_order(1, 1) == 16 && bayer_order(1, 0) == 32 && bayer_order(0, 1) == 48);

/// Two colours of a palette and in which share of cells, of 65536, the second one stands in for the first.
struct Mixture {
  std::size_t first = 0;
  std::size_t second = 0;
  std::int64_t share = 0;
};

/// The nearest colour, and the one that mixes best with it. Colours far apart make a coarse pattern, so that of
/// partners with errors alike the nearer one is better: a tenth of the squared distance, by the share, is added to the
/// error (the weight is that of J. Yliluoma, "Arbitrary-palette positional dithering algorithm", found by eye).
Mixture mixture_for(const Oklab& wanted, const Colours& colours) {
  Mixture mixture;
  mixture.first = mixture.second = colours.nearest(wanted);
  const auto& from = colours.lab(mixture.first);
  auto least = std::numeric_limits<std::int64_t>::max();
  for (std::size_t i = 0; i < colours.size(); ++i) {
    const auto& to = colours.lab(i);
    const auto length = distance_squared(from, to);
    if (length == 0) continue;
    const auto along = std::int64_t{wanted.l - from.l} * (to.l - from.l) +
                       std::int64_t{wanted.a - from.a} * (to.a - from.a) +
                       std::int64_t{wanted.b - from.b} * (to.b - from.b);
    if (along <= 0) continue;
    // 65536 times at most 2^36. At most half: `from` is the nearer one.
    const auto share = std::min<std::int64_t>(along * 65536 / length, 32768);
    const auto mixed = [share](std::int32_t a, std::int32_t b) {
      return static_cast<std::int32_t>(a + std::int64_t{b - a} * share / 65536);
    };
    const Oklab mean = {mixed(from.l, to.l), mixed(from.a, to.a), mixed(from.b, to.b)};
    const auto error = distance_squared(wanted, mean) + length / 10 * share / 32768;
    if (error < least) {
      least = error;
      mixture.second = i;
      mixture.share = share;
    }
  }
  return mixture;
}

void dither_bayer(Image& cells, const Colours& colours, std::uint32_t percent) {
  for (std::size_t y = 0; y < cells.height; ++y) {
    for (std::size_t x = 0; x < cells.width; ++x) {
      const auto cell = y * cells.width + x;
      if (!is_opaque(cells, cell)) continue;
      const auto mixture = mixture_for(to_oklab(rgb_at(cells, cell)), colours);
      // Half a step up, so that the share 0 never takes the second colour and one half takes it in 32 of 64 cells.
      const auto threshold = std::int64_t{bayer_order(x & 7, y & 7)} * 1024 + 512;
      const bool second = mixture.share * percent / 100 > threshold;
      put(cells, cell, colours.rgb(second ? mixture.second : mixture.first));
    }
  }
}

/// R. W. Floyd and L. Steinberg, "An adaptive algorithm for spatial greyscale", 1976, with every second row backwards.
/// Nothing is passed to transparent cells, nor through them.
void dither_floyd_steinberg(Image& cells, const Colours& colours, std::uint32_t percent) {
  const std::size_t width = cells.width;
  // In sixteenths of an Oklab's unit, with a cell before and behind the row.
  std::vector<std::array<std::int32_t, 3>> here(width + 2), below(width + 2);
  for (std::size_t y = 0; y < cells.height; ++y) {
    const bool backwards = y % 2 == 1;
    for (std::size_t step = 0; step < width; ++step) {
      const auto x = backwards ? width - 1 - step : step;
      const auto cell = y * width + x;
      if (!is_opaque(cells, cell)) continue;
      const auto own = to_oklab(rgb_at(cells, cell));
      // Where the palette cannot reach a colour at all the errors would pile up without an end, and smear when it can.
      const auto wanted = [&](std::int32_t value, std::size_t i, std::int32_t low, std::int32_t high) {
        return std::clamp(value + here[x + 1][i] / 16, low, high);
      };
      const Oklab target = {wanted(own.l, 0, -oklab_one / 4, oklab_one + oklab_one / 4),
                            wanted(own.a, 1, -oklab_one / 2, oklab_one / 2),
                            wanted(own.b, 2, -oklab_one / 2, oklab_one / 2)};
      const auto best = colours.nearest(target);
      put(cells, cell, colours.rgb(best));
      const auto& given = colours.lab(best);
      const std::array<std::int32_t, 3> error = {target.l - given.l, target.a - given.a, target.b - given.b};
      const auto ahead = backwards ? x : x + 2, behind = backwards ? x + 2 : x;
      for (std::size_t i = 0; i < 3; ++i) {
        const auto part = error[i] * static_cast<std::int32_t>(percent) / 100;
        here[ahead][i] += part * 7;
        below[behind][i] += part * 3;
        below[x + 1][i] += part * 5;
        below[ahead][i] += part;
      }
    }
    here.swap(below);
    std::fill(below.begin(), below.end(), std::array<std::int32_t, 3>{});
  }
}

Result<void> check_options(const Image& image, const PixelArtOptions& options) {
  if ((options.width_px == 0) != (options.height_px == 0)) {
    return invalid(fmt::format("width_px is {} and height_px is {}; both are given, or neither", options.width_px,
                               options.height_px));
  }
  if (options.width_px != 0) {
    if (options.cell_px != 1) {
      return invalid(fmt::format("cell_px is {}; it cannot be given with width_px and height_px", options.cell_px));
    }
    if (options.width_px > image.width || options.height_px > image.height) {
      return invalid(
          fmt::format("width_px and height_px are {}x{}; the image is {}x{}, and cells cannot be smaller than "
                      "its pixels",
                      options.width_px, options.height_px, image.width, image.height));
    }
  }
  const auto shorter = std::min(image.width, image.height);
  if (options.cell_px < 1 || options.cell_px > shorter) {
    return invalid(
        fmt::format("cell_px is {}; it must be 1 to {}, the image's shorter side", options.cell_px, shorter));
  }
  if (options.alpha_threshold == 0) return invalid("alpha_threshold is 0; it must be 1 to 255");
  if (options.dither_percent > 100) {
    return invalid(fmt::format("dither_percent is {}; it must be at most 100", options.dither_percent));
  }
  if (options.colours > max_palette_colours) {
    return invalid(fmt::format("colours is {}; it must be at most {}", options.colours, max_palette_colours));
  }
  if (!options.palette.empty()) {
    if (options.colours != 0) {
      return invalid(fmt::format("colours is {}; it cannot be given with a palette", options.colours));
    }
    GF_TRYV(check_palette(options.palette));
  } else if (options.colours == 0 && options.dither != Dither::none) {
    return invalid("dither needs a palette or a number of colours");
  }
  return success();
}

}  // namespace

Result<Image> pixelate(const Image& image, const PixelArtOptions& options) {
  GF_TRYV(check_image(image));
  GF_TRYV(check_options(image, options));
  // A rest at the right or bottom that is less than half a cell is shared out among the others.
  const auto cells_of = [&](std::uint32_t side) {
    return std::max(1u, (side + options.cell_px / 2) / options.cell_px);
  };
  auto cells = in_cells(image, options.width_px != 0 ? options.width_px : cells_of(image.width),
                        options.height_px != 0 ? options.height_px : cells_of(image.height), options);
  auto palette = options.palette;
  if (options.colours != 0) {
    const Image* const found_in = &cells;
    auto found = find_palette({&found_in, 1}, options.colours);
    if (!found) {
      if (found.error().status == Status::not_found) return cells;
      return std::move(found).error();
    }
    palette = std::move(found).value();
  }
  if (palette.empty()) return cells;
  const Colours colours(palette);
  switch (options.dither) {
    case Dither::none:
      take_nearest(cells, colours);
      break;
    case Dither::bayer:
      dither_bayer(cells, colours, options.dither_percent);
      break;
    case Dither::floyd_steinberg:
      dither_floyd_steinberg(cells, colours, options.dither_percent);
      break;
  }
  return cells;
}

}  // namespace gf::pipeline
