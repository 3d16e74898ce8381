#include "pipeline/image_ops.hpp"

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

std::uint32_t colour_at(const Image& image, std::size_t pixel) {
  const auto* p = image.rgba.data() + pixel * 4;
  return std::uint32_t{p[0]} << 16 | std::uint32_t{p[1]} << 8 | p[2];
}

bool is_clear(const Image& image, std::size_t pixel) { return image.rgba[pixel * 4 + 3] == 0; }

/// Calls `visit` with each pixel of the border, once.
template <class Visit>
void for_border(const Image& image, Visit&& visit) {
  const std::size_t width = image.width, height = image.height;
  for (std::size_t x = 0; x < width; ++x) visit(x);
  for (std::size_t y = 1; y < height; ++y) {
    visit(y * width);
    if (width > 1) visit(y * width + width - 1);
  }
  if (height > 1) {
    for (std::size_t x = 1; x + 1 < width; ++x) visit((height - 1) * width + x);
  }
}

/// Calls `visit` with the pixels above, left, right and below.
template <class Visit>
void for_neighbours(const Image& image, std::size_t pixel, Visit&& visit) {
  const std::size_t width = image.width;
  const std::size_t x = pixel % width;
  if (pixel >= width) visit(pixel - width);
  if (x > 0) visit(pixel - 1);
  if (x + 1 < width) visit(pixel + 1);
  if (pixel + width < width * image.height) visit(pixel + width);
}

/// The commonest colour of the border's visible pixels; 0 when there is none, and then nothing asks for it.
std::uint32_t border_colour(const Image& image) {
  std::vector<std::uint32_t> colours;
  for_border(image, [&](std::size_t pixel) {
    if (!is_clear(image, pixel)) colours.push_back(colour_at(image, pixel));
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
  const std::size_t pixels = std::size_t{image.width} * image.height;
  enum : std::uint8_t { kept, keyed_out, coloured };
  std::vector<std::uint8_t> state(pixels, kept);
  std::vector<std::uint32_t> front;  // At most 2^28 pixels, so 32 bits hold a place.
  const auto reach = [&](std::size_t pixel) {
    if (state[pixel] != kept || !is_background(pixel)) return;
    state[pixel] = keyed_out;
    front.push_back(static_cast<std::uint32_t>(pixel));
  };
  for_border(image, reach);
  for (std::size_t next = 0; next < front.size(); ++next) for_neighbours(image, front[next], reach);
  for (const auto pixel : front) keyed.rgba[std::size_t{pixel} * 4 + 3] = 0;

  // Colours spread from the kept pixels, a step a round, in the order of rows: the same image gives the same bytes.
  const auto take_colour = [&](std::size_t pixel, std::size_t from) {
    std::memcpy(keyed.rgba.data() + pixel * 4, keyed.rgba.data() + from * 4, 3);
    state[pixel] = coloured;
  };
  std::sort(front.begin(), front.end());
  std::vector<std::uint32_t> spreading;
  for (const auto pixel : front) {
    bool found = false;
    for_neighbours(image, pixel, [&](std::size_t neighbour) {
      if (found || state[neighbour] != kept) return;
      take_colour(pixel, neighbour);
      spreading.push_back(pixel);
      found = true;
    });
  }
  for (std::size_t next = 0; next < spreading.size(); ++next) {
    const std::size_t from = spreading[next];
    for_neighbours(image, from, [&](std::size_t neighbour) {
      if (state[neighbour] != keyed_out) return;
      take_colour(neighbour, from);
      spreading.push_back(static_cast<std::uint32_t>(neighbour));
    });
  }
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
