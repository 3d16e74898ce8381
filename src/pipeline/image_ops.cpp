#include "pipeline/image_ops.hpp"

#include "pipeline/flood.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

namespace gf::pipeline {
namespace {

Error invalid(std::string message) { return {Status::invalid_argument, std::move(message), {}}; }

constexpr std::uint32_t max_factor = 64;
constexpr std::size_t max_grid_images = 4096;
constexpr std::uint32_t max_gap_px = 1024;

bool is_clear(const Image& image, std::size_t pixel) { return alpha_at(image, pixel) == 0; }

/// The commonest colour of the border's visible pixels; 0 when there is none, and then nothing asks for it.
std::uint32_t border_colour(const Image& image) {
  std::vector<std::uint32_t> colours;
  for_border(image, [&](std::size_t pixel) {
    if (!is_clear(image, pixel)) colours.push_back(rgb_at(image, pixel));
  });
  std::sort(colours.begin(), colours.end());
  std::uint32_t best = 0;
  std::size_t best_count = 0;
  for (std::size_t first = 0; first < colours.size();) {
    std::size_t last = first;
    while (last < colours.size() && colours[last] == colours[first]) ++last;
    if (last - first > best_count) {
      best_count = last - first;
      best = colours[first];
    }
    first = last;
  }
  return best;
}

}  // namespace

Result<void> check_image(const Image& image) {
  if (image.width < 1 || image.width > max_image_side_px || image.height < 1 || image.height > max_image_side_px) {
    return invalid(fmt::format("the image is {}x{}; each side must be 1 to {} pixels", image.width, image.height,
                               max_image_side_px));
  }
  if (image.rgba.size() != image.byte_count()) {
    return invalid(fmt::format("the image is {}x{} and needs {} bytes, not {}", image.width, image.height,
                               image.byte_count(), image.rgba.size()));
  }
  return success();
}

Result<Image> upscale_nearest(const Image& image, std::uint32_t factor) {
  GF_TRYV(check_image(image));
  if (factor < 1 || factor > max_factor)
    return invalid(fmt::format("factor is {}; it must be 1 to {}", factor, max_factor));
  if (image.width > max_image_side_px / factor || image.height > max_image_side_px / factor) {
    return invalid(fmt::format("factor is {}; the image of {}x{} would pass {} pixels a side", factor, image.width,
                               image.height, max_image_side_px));
  }
  Image larger{.width = image.width * factor, .height = image.height * factor, .seed = image.seed, .rgba = {}};
  larger.rgba.resize(larger.byte_count());
  const std::size_t stride = std::size_t{larger.width} * 4;
  for (std::size_t y = 0; y < image.height; ++y) {
    auto* const row = larger.rgba.data() + y * factor * stride;
    auto* out = row;
    for (std::size_t x = 0; x < image.width; ++x) {
      const auto* const from = image.rgba.data() + (y * image.width + x) * 4;
      for (std::uint32_t i = 0; i < factor; ++i, out += 4) std::memcpy(out, from, 4);
    }
    for (std::uint32_t i = 1; i < factor; ++i) std::memcpy(row + i * stride, row, stride);
  }
  return larger;
}

Result<Image> key_background(const Image& image, const KeyOptions& options) {
  GF_TRYV(check_image(image));
  const auto colour = options.use_border
                          ? border_colour(image)
                          : std::uint32_t{options.red} << 16 | std::uint32_t{options.green} << 8 | options.blue;
  const std::array<int, 3> wanted = {static_cast<int>(colour >> 16), static_cast<int>(colour >> 8 & 255),
                                     static_cast<int>(colour & 255)};
  const auto is_background = [&](std::size_t pixel) {
    if (is_clear(image, pixel)) return true;
    const auto* p = image.rgba.data() + pixel * 4;
    for (std::size_t channel = 0; channel < 3; ++channel) {
      if (std::abs(p[channel] - wanted[channel]) > options.tolerance) return false;
    }
    return true;
  };

  Image keyed = image;
  std::vector<bool> is_keyed(std::size_t{image.width} * image.height);
  std::vector<std::uint32_t> front;  // At most 2^28 pixels, so 32 bits hold a place.
  const auto reach = [&](std::size_t pixel) {
    if (is_keyed[pixel] || !is_background(pixel)) return;
    is_keyed[pixel] = true;
    front.push_back(static_cast<std::uint32_t>(pixel));
  };
  for_border(image, reach);
  for (std::size_t next = 0; next < front.size(); ++next) for_neighbours(image, front[next], reach);
  for (const auto pixel : front) keyed.rgba[std::size_t{pixel} * 4 + 3] = 0;
  std::sort(front.begin(), front.end());
  bleed_colours(keyed, front);
  return keyed;
}

Result<Image> grid(std::span<const Image* const> images, std::uint32_t columns, std::uint32_t gap_px,
                   std::uint32_t background) {
  if (images.empty() || images.size() > max_grid_images) {
    return invalid(fmt::format("count is {}; it must be 1 to {}", images.size(), max_grid_images));
  }
  if (columns < 1 || columns > images.size()) {
    return invalid(fmt::format("columns is {}; it must be 1 to the count, {}", columns, images.size()));
  }
  if (gap_px > max_gap_px) return invalid(fmt::format("gap_px is {}; it must be at most {}", gap_px, max_gap_px));
  std::uint64_t cell_width = 0, cell_height = 0;
  for (const auto* image : images) {
    GF_TRYV(check_image(*image));
    cell_width = std::max<std::uint64_t>(cell_width, image->width);
    cell_height = std::max<std::uint64_t>(cell_height, image->height);
  }
  const std::uint64_t rows = (images.size() + columns - 1) / columns;
  const auto width = columns * (cell_width + gap_px) + gap_px;
  const auto height = rows * (cell_height + gap_px) + gap_px;
  if (width > max_image_side_px || height > max_image_side_px) {
    return invalid(
        fmt::format("the grid would have {}x{} pixels; each side may have {}", width, height, max_image_side_px));
  }

  Image sheet{
      .width = static_cast<std::uint32_t>(width), .height = static_cast<std::uint32_t>(height), .seed = 0, .rgba = {}};
  sheet.rgba.resize(sheet.byte_count());
  const std::array<std::uint8_t, 4> fill = {
      static_cast<std::uint8_t>(background >> 24), static_cast<std::uint8_t>(background >> 16 & 255),
      static_cast<std::uint8_t>(background >> 8 & 255), static_cast<std::uint8_t>(background & 255)};
  for (std::size_t i = 0; i < sheet.rgba.size(); i += 4) std::memcpy(sheet.rgba.data() + i, fill.data(), 4);
  for (std::size_t i = 0; i < images.size(); ++i) {
    const auto& image = *images[i];
    const std::size_t left = gap_px + i % columns * (cell_width + gap_px);
    const std::size_t top = gap_px + i / columns * (cell_height + gap_px);
    for (std::size_t y = 0; y < image.height; ++y) {
      std::memcpy(sheet.rgba.data() + ((top + y) * sheet.width + left) * 4, image.rgba.data() + y * image.width * 4,
                  std::size_t{image.width} * 4);
    }
  }
  return sheet;
}

}  // namespace gf::pipeline
